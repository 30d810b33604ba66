<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use CeleryBridge\TaskMessage;
use Throwable;

/**
 * A task could not be posted. The caller gets the exception too; its `outcomeUnknown()`, if it has
 * that method, tells whether the broker may have taken the task nevertheless.
 */
final class TaskPostFailed
{
    public function __construct(public readonly TaskMessage $task, public readonly Throwable $exception)
    {
    }
}
