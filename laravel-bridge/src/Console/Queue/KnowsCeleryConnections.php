<?php

declare(strict_types=1);

namespace CeleryBridge\Console\Queue;

use CeleryBridge\Console\SpeaksInComponents;
use CeleryBridge\Queue\CeleryQueue;

/**
 * For Laravel's own queue commands: tells whether Celery workers serve a queue connection.
 */
trait KnowsCeleryConnections
{
    use SpeaksInComponents;

    private function celeryQueue(?string $connection): ?CeleryQueue
    {
        $config = $this->laravel->make('config');
        $connection = $connection ?: $config->get('queue.default');
        // A connection of another driver is not made here: it may need what this command does not.
        if ($config->get("queue.connections.{$connection}.driver") !== 'celery') {
            return null;
        }
        $queue = $this->laravel->make('queue')->connection($connection);

        return $queue instanceof CeleryQueue ? $queue : null;
    }

    private function refuse(string $message): int
    {
        $this->complain($message);

        return self::FAILURE;
    }
}
