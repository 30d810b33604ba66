<?php

declare(strict_types=1);

namespace CeleryBridge\Canvas;

use CeleryBridge\PendingCanvas;
use CeleryBridge\PendingTask;
use CeleryBridge\Queue\CeleryQueue;
use CeleryBridge\Queue\TaskMapper;
use CeleryBridge\TaskMessage;
use Illuminate\Contracts\Container\Container;
use InvalidArgumentException;

/**
 * Reads the members of a canvas in the forms that an application writes.
 */
final class Members
{
    public function __construct(private readonly Container $container)
    {
    }

    /**
     * @param  iterable<array-key, mixed>  $members
     * @return array<array-key, TaskMessage|Canvas> under the same keys
     */
    public function all(iterable $members): array
    {
        $read = [];
        foreach ($members as $key => $member) {
            $read[$key] = $this->one($member);
        }

        return $read;
    }

    /**
     * Reads one member. A job has all its arguments, so its task does not get the result of the task
     * before it.
     *
     * @throws \CeleryBridge\Exceptions\JobCannotRunOnCelery
     */
    public function one(mixed $member): TaskMessage|Canvas
    {
        return match (true) {
            $member instanceof TaskMessage, $member instanceof Canvas => $member,
            $member instanceof PendingTask => $member->toMessage(),
            $member instanceof PendingCanvas => $member->toCanvas(),
            TaskMapper::maps($member) => CeleryQueue::of($this->container)->toMember($member)->immutable(),
            default => throw new InvalidArgumentException('a canvas consists of tasks made by task(), of chains, groups '
                .'and chords, and of jobs that name a Celery task; not of '.get_debug_type($member)),
        };
    }
}
