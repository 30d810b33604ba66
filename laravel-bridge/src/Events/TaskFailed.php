<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use CeleryBridge\Exceptions\TaskFailed as Failure;
use Illuminate\Contracts\Queue\Job;

/**
 * `celery:listen` has seen the failure of a tracked task. Its row is in `failed_jobs`.
 */
final class TaskFailed
{
    public function __construct(
        public readonly string $id,
        public readonly string $task,
        public readonly Job $job,
        public readonly Failure $exception,
    ) {
    }
}
