<?php

namespace App\Jobs;

/**
 * Tells the workers that a task was created.
 */
class TaskCreatedJob extends AbstractCeleryTaskJob
{
    public static function dispatch($id): \AsyncResult
    {
        return (new self())->send('task_created', [$id]);
    }
}
