<?php

declare(strict_types=1);

namespace CeleryBridge\Console\Queue;

use Illuminate\Contracts\Queue\Factory;
use Illuminate\Queue\Console\PauseCommand as LaravelsPauseCommand;

/**
 * `queue:pause` of newer Laravels. It only sets a key in Laravel's cache, which Celery workers do
 * not read, so that it refuses their queues.
 */
final class PauseCommand extends LaravelsPauseCommand
{
    use KnowsCeleryConnections;

    public function handle(Factory $manager): int
    {
        $argument = $this->argument('queue');
        if ($argument === null) {
            return parent::handle($manager);
        }

        [$connection, $queue] = $this->parseQueue($argument);

        return $this->celeryQueue($connection) === null ? parent::handle($manager) : $this->refuse(sprintf(
            'Celery workers serve the connection [%s] and do not know of pauses in Laravel. They leave a queue after '
            .'`celery -b BROKER control cancel_consumer %s`, and take it again after `add_consumer`.',
            $connection,
            $queue,
        ));
    }
}
