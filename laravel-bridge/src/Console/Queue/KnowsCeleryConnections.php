<?php

declare(strict_types=1);

namespace CeleryBridge\Console\Queue;

use CeleryBridge\Queue\CeleryQueue;

/**
 * For Laravel's own queue commands: tells whether Celery workers serve a queue connection.
 */
trait KnowsCeleryConnections
{
    private function celeryQueue(?string $connection): ?CeleryQueue
    {
        $queue = $this->laravel->make('queue')->connection($connection);

        return $queue instanceof CeleryQueue ? $queue : null;
    }

    private function refuse(string $message): int
    {
        if (isset($this->components)) {
            $this->components->error($message);
        } else {
            $this->error($message);
        }

        return self::FAILURE;
    }
}
