<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\TaskMessage;

/**
 * A task that the fake has recorded.
 */
final class PostedTask
{
    /**
     * @param  array<array-key, mixed>  $args
     * @param  array<string, mixed>  $fields  eta, expires, … and headers
     * @param  object|null  $job  the job of Laravel's that was posted as this task
     */
    public function __construct(
        public readonly string $id,
        public readonly string $name,
        public readonly array $args,
        public readonly string $queue,
        public readonly array $fields,
        public readonly string $connection,
        public readonly ?object $job = null,
    ) {
    }

    public static function fromMessage(TaskMessage $task, string $connection): self
    {
        return new self(
            $task->id,
            $task->name,
            $task->args,
            (string) $task->queue,
            $task->fields,
            $connection,
            $task->job,
        );
    }
}
