<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\PendingCanvas;
use CeleryBridge\PendingTask;
use CeleryBridge\TaskMessage;
use UnitEnum;

/**
 * The client of an application: posts tasks, reads their results, revokes tasks.
 *
 * Inject this contract into code that posts tasks; `Celery::fake()` then replaces it in tests.
 */
interface Client
{
    /**
     * Posts a task. Throws if the task could not be posted.
     *
     * Inside a database transaction the task is posted after the commit (setting `after_commit`).
     * The result's id is known at once. If the transaction rolls back, the task is not sent.
     *
     * @param  string  $task  the task's name, as the worker registers it
     * @param  array<array-key, mixed>  $args  a list holds positional arguments, any other array
     * keyword arguments
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
     * Posts several tasks; those of one queue go in one round trip and in their order.
     *
     * Throws if not all could be posted; the events {@see \CeleryBridge\Events\TaskPosted} and
     * {@see \CeleryBridge\Events\TaskPostFailed} say which.
     *
     * @param  iterable<array-key, PendingTask|TaskMessage>  $tasks  a TaskMessage is posted as it
     * is, without Laravel's Context
     * @return array<array-key, Result> under the keys of $tasks
     */
    public function postMany(iterable $tasks): array;

    /**
     * Returns a task whose methods set its queue, its delay, …; its `post()` sends it.
     *
     * @param  array<array-key, mixed>  $args
     */
    public function task(string $name, array $args = []): PendingTask;

    /**
     * Returns a chain: tasks one after another. A task gets the result of the one before as its first
     * argument, unless it is `immutable()`. A job never gets it.
     *
     * @param  iterable<array-key, PendingTask|PendingCanvas|object>  $steps  tasks made by `task()`,
     * chains, groups and chords, and jobs that name a Celery task
     */
    public function chain(iterable $steps): PendingCanvas;

    /**
     * Returns a group: tasks side by side. Its results have the keys of its members.
     *
     * @param  iterable<array-key, PendingTask|PendingCanvas|object>  $members  as for chain()
     */
    public function group(iterable $members): PendingCanvas;

    /**
     * Returns a chord: a group, and a task that begins when all its members have succeeded. It gets
     * the list of their results as its first argument, unless it is `immutable()` or a job.
     *
     * @param  iterable<array-key, PendingTask|PendingCanvas|object>  $header  as for chain()
     * @param  PendingTask|PendingCanvas|object  $body
     */
    public function chord(iterable $header, object $body): PendingCanvas;

    /**
     * Posts a chain, group or chord in one round trip; `PendingCanvas::post()` calls it.
     *
     * @param  bool|null  $afterCommit  null: it waits for the commit if one of its tasks would
     * @return Result|Results  of the last task; of its members if a group is last
     */
    public function postCanvas(Canvas $canvas, ?bool $afterCommit = null): Result|Results;

    /**
     * Returns the results of several tasks. Makes no connection yet.
     *
     * @param  iterable<array-key, string|Result>  $tasks  ids or results
     * @return Results under the keys of $tasks
     */
    public function results(iterable $tasks): Results;

    /**
     * Returns the result of a task that this or any other program posted. Makes no connection yet.
     */
    public function result(string $id): Result;

    /**
     * Deletes the stored result of a task.
     */
    public function forget(string $id): void;

    /**
     * Tells the running workers not to run a task. A task that is already running continues.
     */
    public function revoke(string $id): void;

    /**
     * Returns the name of this client's connection in config/celery.php.
     */
    public function name(): string;
}
