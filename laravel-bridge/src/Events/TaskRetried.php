<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use Illuminate\Contracts\Queue\Job;

/**
 * `celery:listen` has seen that a tracked task will be tried again. Comes only from workers that send events.
 */
final class TaskRetried
{
    public function __construct(
        public readonly string $id,
        public readonly string $task,
        public readonly Job $job,
        public readonly ?string $reason,
    ) {
    }
}
