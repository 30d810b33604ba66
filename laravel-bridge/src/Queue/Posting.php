<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\TaskMessage;

/**
 * A job and the task it is posted as. A plain value.
 */
final class Posting
{
    /**
     * @param  mixed  $delay  as Laravel was given it; the task has it as its ETA
     */
    public function __construct(
        public readonly object $job,
        public readonly TaskMessage $task,
        public readonly mixed $delay,
    ) {
    }
}
