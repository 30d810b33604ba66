<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use Illuminate\Contracts\Queue\Job;

/**
 * `celery:listen` has seen the success of a tracked task.
 */
final class TaskSucceeded
{
    public function __construct(
        public readonly string $id,
        public readonly string $task,
        public readonly Job $job,
        public readonly mixed $result,
    ) {
    }
}
