<?php

declare(strict_types=1);

namespace CeleryBridge\Concerns;

use CeleryBridge\Context\LaravelHeader;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Queue\FailedCallback;
use CeleryBridge\Queue\TaskMapper;
use CeleryBridge\TaskMessage;
use Illuminate\Container\Container;
use Illuminate\Support\Str;
use Throwable;

/**
 * The `handle()` of a job that is a Celery task; a PHP worker or the `sync` connection runs it, and
 * it posts the task.
 *
 * If the task cannot be posted, the job throws. Laravel then retries by the job's `$tries` and
 * `backoff`, and calls its `failed()` after the last try. All tries post one task id. Inside a
 * transaction (the `sync` connection) the task is posted after the commit. Laravel has finished the
 * job by then, so this trait calls `failed()`.
 */
trait PostsCeleryTask
{
    public function handle(Factory $celery): void
    {
        $connection = TaskMapper::connection($this);
        $options = [
            'after_commit' => false,
            'job' => $this,
            'id' => (isset($this->job) ? $this->job->uuid() : null) ?? (string) Str::uuid(),
        ];

        // Refuses arguments that cannot be sent while the transaction can still roll back.
        $container = Container::getInstance();
        $task = LaravelHeader::addContext($container, TaskMessage::make(
            TaskMapper::name($this),
            TaskMapper::arguments($this),
            TaskMapper::queue($this),
            $options,
        ));
        $post = static fn () => $celery->connection($connection)->postMany([$task]);

        if (! ($this->afterCommit ?? $celery->settings($connection)->afterCommit)) {
            $post();

            return;
        }

        $celery->afterCommit()->run(
            [$task->id],
            $post,
            fn (Throwable $e) => FailedCallback::call($container, $this, $e),
        );
    }
}
