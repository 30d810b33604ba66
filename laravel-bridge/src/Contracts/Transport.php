<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use CeleryBridge\TaskMessage;

/**
 * The transport of one connection's tasks: the extension, or the fake.
 */
interface Transport
{
    /**
     * Throws if this transport cannot work at all (the extension is not loaded). Makes no
     * connection.
     */
    public function ensureUsable(): void;

    /** Sends a task, or throws. */
    public function post(TaskMessage $task): void;

    /**
     * Sends several tasks to one queue in one round trip, or throws.
     *
     * @param  non-empty-list<TaskMessage>  $tasks
     */
    public function postMany(string $queue, array $tasks): void;

    /** Deletes the stored result of a task. */
    public function forget(string $id): void;

    /** Tells the running workers not to run a task. */
    public function revoke(string $id): void;

    /** Returns the result of a task, by its id. Makes no connection. */
    public function result(string $id, ?string $task = null): Result;
}
