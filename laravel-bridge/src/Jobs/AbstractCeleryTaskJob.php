<?php

declare(strict_types=1);

namespace CeleryBridge\Jobs;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Contracts\Result;
use Illuminate\Container\Container;

/**
 * The base of classes in celery-php's style: objects whose own `dispatch()` calls `send()`.
 *
 *     final class TaskCreatedJob extends AbstractCeleryTaskJob
 *     {
 *         public function dispatch($id): Result
 *         {
 *             return $this->send('task_created', [$id]);
 *         }
 *     }
 *
 * In addition to the original, it has the named connections, posting after the commit, the events
 * and the fake. It throws if the task cannot be posted.
 */
abstract class AbstractCeleryTaskJob
{
    /** A name in config/celery.php; null: its default. */
    protected ?string $celeryConnection = null;

    /**
     * @param  array<array-key, mixed>  $args
     */
    protected function send(string $taskName, array $args = []): Result
    {
        return Container::getInstance()
            ->make(Factory::class)
            ->connection($this->celeryConnection)
            ->post($taskName, $args, null, ['job' => $this]);
    }
}
