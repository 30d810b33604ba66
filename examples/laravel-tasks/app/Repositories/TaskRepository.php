<?php

namespace App\Repositories;

use App\Models\Task;
use Illuminate\Support\Collection;

class TaskRepository
{
    /**
     * Returns all tasks, the newest first.
     */
    public function fetchAll(): Collection
    {
        return Task::query()->orderByDesc('id')->get();
    }

    public function create(array $attributes): Task
    {
        return Task::create($attributes);
    }
}
