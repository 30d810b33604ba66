<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use CeleryBridge\TaskMessage;

/**
 * What carries the tasks of one connection: the extension, or the fake.
 */
interface Transport
{
    /**
     * Throw if this transport cannot work at all (the extension is not loaded). Makes no connection.
     */
    public function ensureUsable(): void;

    /** Send a task, or throw. */
    public function post(TaskMessage $task): void;

    /**
     * Send several tasks to one queue in one round trip, or throw.
     *
     * @param  non-empty-list<TaskMessage>  $tasks
     */
    public function postMany(string $queue, array $tasks): void;

    /** Delete the stored result of a task. */
    public function forget(string $id): void;

    /** Tell the workers running now not to run a task. */
    public function revoke(string $id): void;

    /** The result of a task, by its id. Makes no connection. */
    public function result(string $id, ?string $task = null): Result;
}
