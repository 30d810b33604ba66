<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use CeleryBridge\TaskMessage;
use Closure;
use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Throwable;

/**
 * The one way by which tracked jobs are posted: write their rows, post, and note in the rows what the
 * broker has.
 *
 * The rows hold the messages. If the program ends in between, a listener posts them. The posts of
 * tracked jobs are guarded by the tasks' ids ({@see TaskMessage::once()}), so a task that was posted
 * after all is not queued twice.
 */
final class Outbox
{
    public function __construct(private readonly TrackedJobs $jobs, private readonly Container $container)
    {
    }

    public function isOn(): bool
    {
        return $this->jobs->areOn();
    }

    /**
     * Writes the rows of jobs that are about to be posted. Inside a transaction of the application,
     * they come and go with it.
     *
     * @param  list<array<string, mixed>>  $rows
     */
    public function write(array $rows): void
    {
        if ($rows !== [] && $this->isOn()) {
            $this->jobs->begin($rows);
        }
    }

    /**
     * Posts tasks whose rows were written. If that fails, it deletes the rows of the tasks that
     * certainly were not posted, and throws.
     *
     * @param  list<TaskMessage>  $tasks
     * @param  Closure(): mixed  $post
     */
    public function post(array $tasks, Closure $post): void
    {
        try {
            $post();
        } catch (Throwable $e) {
            $isPosted = static fn (TaskMessage $task): bool => self::isConfirmed($task, $e) || self::mayBePosted($e);
            $this->posted(array_filter($tasks, $isPosted));
            $this->withdraw(array_filter($tasks, static fn (TaskMessage $task): bool => ! $isPosted($task)));

            throw $e;
        }

        $this->posted($tasks);
    }

    /**
     * Deletes the rows of tasks that certainly were not posted.
     *
     * @param  array<array-key, TaskMessage>  $tasks
     */
    public function withdraw(array $tasks): void
    {
        if ($tasks !== [] && $this->isOn()) {
            $this->jobs->withdraw(self::ids($tasks));
        }
    }

    /**
     * Returns true if a post of several tasks failed, but not for this one: some exceptions name the
     * tasks that were not confirmed.
     */
    public static function isConfirmed(TaskMessage $task, Throwable $reason): bool
    {
        $unconfirmed = method_exists($reason, 'taskIds') ? $reason->taskIds() : [];

        return $unconfirmed !== [] && ! in_array($task->id, $unconfirmed, true);
    }

    /**
     * Returns true if the broker may have the tasks although their post failed.
     */
    private static function mayBePosted(Throwable $reason): bool
    {
        return method_exists($reason, 'outcomeUnknown') && $reason->outcomeUnknown();
    }

    /**
     * @param  array<array-key, TaskMessage>  $tasks
     */
    private function posted(array $tasks): void
    {
        if ($tasks === [] || ! $this->isOn()) {
            return;
        }
        try {
            $this->jobs->posted(self::ids($tasks));
        } catch (Throwable $e) {
            // The tasks are posted, so the caller must not take this for a failed post. A listener
            // posts them again, which queues nothing, and then notes it.
            $this->container->make(ExceptionHandler::class)->report($e);
        }
    }

    /**
     * @param  array<array-key, TaskMessage>  $tasks
     * @return list<string>
     */
    private static function ids(array $tasks): array
    {
        return array_values(array_map(static fn (TaskMessage $task): string => $task->id, $tasks));
    }
}
