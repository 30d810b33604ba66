<?php

namespace App\Console\Commands;

use App\Services\TaskService;
use Illuminate\Console\Command;

/**
 * Creates a task as the page's form does; with --wait it then waits for the worker's answer.
 */
class CreateTask extends Command
{
    protected $signature = 'tasks:create {name : What to do} {--wait= : Seconds to wait for the result}';

    protected $description = 'Create a task and send it to a worker';

    public function handle(TaskService $tasks): int
    {
        $task = $tasks->createTask($this->argument('name'));
        $this->line("Task {$task->id} is {$task->status}.");
        if ($this->option('wait') !== null && $task->result !== null) {
            $value = $task->result->get((float) $this->option('wait'));
            $this->line("Its result, read by PHP: " . var_export($value, true));
            $this->line("Task {$task->id} is {$task->fresh()->status}.");
        }

        return self::SUCCESS;
    }
}
