<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use CeleryBridge\PendingTask;
use CeleryBridge\TaskMessage;
use UnitEnum;

/**
 * What an application does with Celery: post tasks, look at their results, take tasks back.
 *
 * Inject this contract where tasks are posted; `Celery::fake()` then replaces it in tests.
 */
interface Client
{
    /**
     * Post a task. It throws when the task could not be posted.
     *
     * Inside a database transaction the task is posted after the commit (setting `after_commit`): the result's id is
     * known at once, the task is not sent at all if the transaction rolls back.
     *
     * @param  string  $task  the task's name, as the worker registers it
     * @param  array<array-key, mixed>  $args  a list is positional arguments, any other array keyword arguments
     * @param  string|UnitEnum|null  $queue  null: the connection's queue
     * @param  array<string, mixed>  $options  see {@see TaskMessage::make()}
     */
    public function post(
        string $task,
        array $args = [],
        string|UnitEnum|null $queue = null,
        array $options = [],
    ): Result;

    /**
     * Post several tasks, those of one queue in one round trip and in their order.
     *
     * It throws when not all could be posted; the events {@see \CeleryBridge\Events\TaskPosted} and
     * {@see \CeleryBridge\Events\TaskPostFailed} say which.
     *
     * @param  iterable<array-key, PendingTask|TaskMessage>  $tasks
     * @return array<array-key, Result> under the keys of $tasks
     */
    public function postMany(iterable $tasks): array;

    /**
     * Begin a task whose queue, delay, … are set by methods; its `post()` sends it.
     *
     * @param  array<array-key, mixed>  $args
     */
    public function task(string $name, array $args = []): PendingTask;

    /**
     * The result of a task posted earlier, here or by anybody else. Makes no connection yet.
     */
    public function result(string $id): Result;

    /**
     * Delete the stored result of a task.
     */
    public function forget(string $id): void;

    /**
     * Tell the workers running now not to run a task. A task that runs already goes on.
     */
    public function revoke(string $id): void;

    /**
     * The name of this client's connection in config/celery.php.
     */
    public function name(): string;
}
