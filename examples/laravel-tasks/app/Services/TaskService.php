<?php

namespace App\Services;

use App\Jobs\TaskCreatedJob;
use App\Models\Task;
use App\Repositories\TaskRepository;
use CeleryException;
use Illuminate\Support\Collection;

class TaskService
{
    private TaskRepository $tasks;

    public function __construct(TaskRepository $tasks)
    {
        $this->tasks = $tasks;
    }

    public function fetchAllTasks(): Collection
    {
        return $this->tasks->fetchAll();
    }

    /**
     * Inserts the row, then sends the task. If it cannot be sent, the row becomes failed: no worker
     * knows of it, so it would stay pending.
     */
    public function createTask(string $name): Task
    {
        $task = $this->tasks->create(['name' => $name, 'status' => Task::STATUS_PENDING]);
        try {
            $task->result = TaskCreatedJob::dispatch($task->id);
        } catch (CeleryException $e) {
            report($e);
            $task->update(['status' => Task::STATUS_FAILED, 'message' => 'It could not be sent to a worker.']);
        }

        return $task;
    }
}
