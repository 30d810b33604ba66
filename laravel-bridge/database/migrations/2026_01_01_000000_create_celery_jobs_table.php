<?php

declare(strict_types=1);

use CeleryBridge\Outcomes\TrackedJobs;
use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class () extends Migration {
    public function up(): void
    {
        Schema::create(TrackedJobs::TABLE, static function (Blueprint $table): void {
            $table->string('id', 191)->primary();
            // The names in config/celery.php and config/queue.php.
            $table->string('celery_connection', 64);
            $table->string('queue_connection', 64);
            $table->string('queue', 191);
            $table->string('task', 191);
            // As Laravel's queues write it; `celery` in it is the message, which queue:retry sends again.
            $table->longText('payload');
            $table->string('state', 32);
            // Unix times with fractions.
            $table->double('created_at');
            $table->double('retried_at')->nullable();
            $table->double('ended_at')->nullable();
            // A listener runs failed() and the events of a task that has ended. The others leave it
            // alone until this time.
            $table->double('claimed_until')->nullable();
            $table->double('settled_at')->nullable();
            $table->longText('outcome')->nullable();

            $table->index(['ended_at', 'id']);
            $table->index(['settled_at', 'claimed_until']);
            // The pages of the dashboard, the newest jobs first.
            $table->index(['celery_connection', 'created_at']);
            $table->index(['celery_connection', 'state', 'created_at']);
        });
    }

    public function down(): void
    {
        Schema::dropIfExists(TrackedJobs::TABLE);
    }
};
