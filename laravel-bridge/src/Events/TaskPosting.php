<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use CeleryBridge\TaskMessage;

/**
 * A task is about to be sent. After-commit posts say so after the commit.
 */
final class TaskPosting
{
    public function __construct(public readonly TaskMessage $task)
    {
    }
}
