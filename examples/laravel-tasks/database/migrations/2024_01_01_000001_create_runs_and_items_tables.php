<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        // What was started on the page /work.
        Schema::create('runs', function (Blueprint $table) {
            $table->increments('id');
            $table->string('kind');
            // The ids of its tasks; null for items, which are counted by their rows.
            $table->text('tasks')->nullable();
            // The number of items that the broker has confirmed.
            $table->unsignedInteger('posted')->default(0);
            // UTC.
            $table->dateTime('posted_at', 3);
        });

        Schema::create('items', function (Blueprint $table) {
            $table->increments('id');
            $table->unsignedInteger('run_id')->index();
            // These three are written by workers. `runs` counts how often its task began.
            $table->unsignedInteger('runs')->default(0);
            $table->string('worker')->nullable();
            $table->dateTime('done_at', 3)->nullable();
        });
    }

    public function down()
    {
        Schema::dropIfExists('items');
        Schema::dropIfExists('runs');
    }
};
