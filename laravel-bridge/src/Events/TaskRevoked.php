<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use Illuminate\Contracts\Queue\Job;

/**
 * `celery:listen` has seen that a tracked task was revoked or has expired. The reason is Celery's text.
 */
final class TaskRevoked
{
    public function __construct(
        public readonly string $id,
        public readonly string $task,
        public readonly Job $job,
        public readonly string $reason,
    ) {
    }
}
