<?php

declare(strict_types=1);

use CeleryBridge\History\Minutes;
use CeleryBridge\History\RecentTasks;
use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class () extends Migration {
    public function up(): void
    {
        Schema::create(Minutes::TABLE, static function (Blueprint $table): void {
            $table->string('celery_connection', 64);
            // Unix time in minutes.
            $table->unsignedInteger('minute');
            // "task" or "queue", and its name.
            $table->string('kind', 8);
            $table->string('name', 191);
            $table->unsignedInteger('received')->default(0);
            $table->unsignedInteger('succeeded')->default(0);
            $table->unsignedInteger('failed')->default(0);
            $table->unsignedInteger('retried')->default(0);
            $table->unsignedInteger('revoked')->default(0);
            // Of the tasks that succeeded: JSON, how many fell into each class of runtimes.
            $table->text('runtimes')->nullable();
            // Of a queue: the most tasks that waited in it.
            $table->unsignedInteger('length')->nullable();

            $table->primary(['celery_connection', 'minute', 'kind', 'name']);
        });

        // The newest tasks that ended or failed, of all producers.
        Schema::create(RecentTasks::TABLE, static function (Blueprint $table): void {
            $table->string('celery_connection', 64);
            $table->string('id', 191);
            $table->string('name', 191);
            $table->text('arguments')->nullable();
            $table->string('state', 32);
            $table->string('worker', 191);
            $table->text('exception')->nullable();
            $table->longText('traceback')->nullable();
            // Seconds.
            $table->double('runtime')->nullable();
            // Unix time with fractions, by the worker's clock.
            $table->double('at');

            $table->primary(['celery_connection', 'id']);
            $table->index(['celery_connection', 'at']);
            $table->index(['celery_connection', 'state', 'at']);
        });

        // The one listener of each connection that writes the minutes.
        Schema::create(Minutes::RECORDERS, static function (Blueprint $table): void {
            $table->string('celery_connection', 64)->primary();
            $table->string('owner', 36);
            $table->double('claimed_until');
            // The number of the owner's last write, so that it is not repeated.
            $table->unsignedInteger('written')->default(0);
        });
    }

    public function down(): void
    {
        Schema::dropIfExists(Minutes::RECORDERS);
        Schema::dropIfExists(RecentTasks::TABLE);
        Schema::dropIfExists(Minutes::TABLE);
    }
};
