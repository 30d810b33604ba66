<?php

declare(strict_types=1);

namespace CeleryBridge\Events;

use CeleryBridge\TaskMessage;

/**
 * A task is about to be sent. For a post after the commit, the event comes after the commit.
 */
final class TaskPosting
{
    public function __construct(public readonly TaskMessage $task)
    {
    }
}
