<?php

declare(strict_types=1);

namespace CeleryBridge\Concerns;

use CeleryBridge\CeleryManager;
use CeleryBridge\Queue\FailedCallback;
use CeleryBridge\Queue\TaskMapper;
use Illuminate\Container\Container;
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
    public function handle(CeleryManager $celery): void
    {
        $connection = TaskMapper::connection($this);
        $options = ['after_commit' => false];
        if (isset($this->job)) {
            $options['id'] = $this->job->uuid();
        }

        $post = fn () => $celery->connection($connection)->post(
            TaskMapper::name($this),
            TaskMapper::arguments($this),
            TaskMapper::queue($this),
            $options,
        );

        $container = Container::getInstance();
        $afterCommit = ($this->afterCommit ?? $celery->settings($connection)->afterCommit) && $celery->defersToCommit();
        if (! $afterCommit || ! $container->bound('db.transactions')) {
            $post();

            return;
        }

        $handled = false;
        $container->make('db.transactions')->addCallback(function () use ($container, $post, &$handled): void {
            try {
                $post();
            } catch (Throwable $e) {
                if ($handled) {
                    FailedCallback::call($container, $this, $e);
                }

                throw $e;
            }
        });
        $handled = true;
    }
}
