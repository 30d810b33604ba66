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
        $queue = $this->laravel->make('queue')->connection($connection);

        return $queue instanceof CeleryQueue ? $queue : null;
    }

    private function refuse(string $message): int
    {
        $this->complain($message);

        return self::FAILURE;
    }
}
