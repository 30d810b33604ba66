<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Canvas\Members;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Results;
use DateInterval;
use DateTimeInterface;
use Illuminate\Support\Traits\Conditionable;
use Illuminate\Support\Traits\Macroable;
use UnitEnum;

/**
 * A chain, group or chord under construction, in Laravel's words. Only `post()` sends it.
 */
final class PendingCanvas
{
    use Conditionable;
    use Macroable;

    private ?bool $afterCommit = null;

    public function __construct(
        private readonly Client $client,
        private readonly Members $members,
        private Canvas $canvas,
    ) {
    }

    /** Sets the queue of the tasks that have no queue of their own. */
    public function onQueue(string|UnitEnum|null $queue): self
    {
        $name = TaskMessage::queueName($queue);
        if ($name !== null) {
            $this->canvas = $this->canvas->map(
                static fn (TaskMessage $task): TaskMessage => $task->queue === null ? $task->withQueue($name) : $task,
            );
        }

        return $this;
    }

    /**
     * Sets the earliest time to begin: of a chain its first task, of a group its members, of a chord
     * the members of its header. Seconds from now, an interval, or a time.
     */
    public function delay(DateTimeInterface|DateInterval|int|float $delay): self
    {
        $eta = TaskMessage::eta($delay);
        $this->canvas = $this->canvas->mapFirst(static fn (TaskMessage $task): TaskMessage => $task->withField('eta', $eta));

        return $this;
    }

    /**
     * Adds tasks that a worker calls if one of these fails, with what Celery gives an `errback`. Of
     * a chord, only the failure of its body and of its header as a whole counts.
     *
     * @param  PendingTask|TaskMessage|object  ...$tasks
     */
    public function onError(object ...$tasks): self
    {
        foreach ($tasks as $task) {
            $task = $this->members->one($task);
            if (! $task instanceof TaskMessage) {
                throw new \InvalidArgumentException('an error callback is one task');
            }
            $this->canvas = $this->canvas->withErrbacks($task);
        }

        return $this;
    }

    /**
     * Lets `celery:listen` bring the outcomes of all its tasks, as those of jobs. Jobs are tracked
     * without it, if jobs are tracked at all.
     */
    public function tracked(): self
    {
        $this->canvas = $this->canvas->map(static fn (TaskMessage $task): TaskMessage => $task->tracked());

        return $this;
    }

    /** Posts after the open transaction commits; not at all if it rolls back. */
    public function afterCommit(): self
    {
        $this->afterCommit = true;

        return $this;
    }

    /** Posts at once, even inside a transaction: the worker may then not see the rows yet. */
    public function beforeCommit(): self
    {
        $this->afterCommit = false;

        return $this;
    }

    /**
     * Posts all of it, and returns the result of the last task or, if a group is last, the results
     * of its members.
     */
    public function post(): Result|Results
    {
        return $this->client->postCanvas($this->canvas, $this->afterCommit);
    }

    public function toCanvas(): Canvas
    {
        return $this->canvas;
    }
}
