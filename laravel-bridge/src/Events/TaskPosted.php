<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use CeleryBridge\TaskMessage;

/**
 * The broker has taken a task.
 */
final class TaskPosted
{
    public function __construct(public readonly TaskMessage $task)
    {
    }
}
