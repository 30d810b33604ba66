<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\TaskMessage;

/**
 * A job, its settings, and its task. A plain value.
 */
final class Posting
{
    /**
     * @param  mixed  $delay  the delay that Laravel was given, which is the task's ETA
     */
    public function __construct(
        public readonly object $job,
        public readonly JobSettings $settings,
        public readonly TaskMessage $task,
        public readonly mixed $delay,
    ) {
    }

    /** Returns this job so that, within an hour, a second post of its task queues nothing. */
    public function once(): self
    {
        return new self($this->job, $this->settings, $this->task->once(), $this->delay);
    }
}
