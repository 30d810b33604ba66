<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use CeleryBridge\Canvas\Canvas;
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

    /** Sends a chain, group or chord whose tasks all have a queue, or throws. */
    public function postCanvas(Canvas $canvas): void;

    /**
     * Waits until all of these tasks have ended or one of them has failed, at most `$timeout`
     * seconds. Asks for all of them together.
     *
     * @param  non-empty-list<string>  $ids
     * @param  float|null  $timeout  0 asks once; null: the INI setting celery.result_timeout
     * @return array<string, string> the final states of those that have ended, by id
     */
    public function ended(array $ids, ?float $timeout): array;

    /** Deletes the stored result of a task. */
    public function forget(string $id): void;

    /** Tells the running workers not to run a task. */
    public function revoke(string $id): void;

    /** Returns the result of a task, by its id. Makes no connection. */
    public function result(string $id, ?string $task = null): Result;
}
