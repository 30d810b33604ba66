<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Result;
use DateInterval;
use DateTimeInterface;
use Illuminate\Support\Traits\Conditionable;
use Illuminate\Support\Traits\Macroable;
use UnitEnum;

/**
 * A task under construction, in Laravel's words. Only `post()` sends it.
 */
final class PendingTask
{
    use Conditionable;
    use Macroable;

    /** @var array<string, mixed> */
    private array $options = [];

    private string|UnitEnum|null $queue = null;

    /**
     * @param  array<array-key, mixed>  $args
     */
    public function __construct(
        private readonly Client $client,
        private readonly string $name,
        private readonly array $args = [],
    ) {
    }

    /** Sets the queue of the task. */
    public function onQueue(string|UnitEnum|null $queue): self
    {
        $this->queue = $queue;

        return $this;
    }

    /** Sets the earliest time to run it: seconds from now, an interval, or a time. */
    public function delay(DateTimeInterface|DateInterval|int|float|null $delay): self
    {
        return $this->with(['delay' => $delay]);
    }

    /** Sets the latest time to run it: a time, or seconds from now. */
    public function expires(DateTimeInterface|DateInterval|int|float $expires): self
    {
        return $this->with(['expires' => $expires]);
    }

    /** In a chain or chord, lets the task not get the result of the task before it. */
    public function immutable(bool $immutable = true): self
    {
        return $this->with(['immutable' => $immutable]);
    }

    /** Posts after the open transaction commits; not at all if it rolls back. */
    public function afterCommit(): self
    {
        return $this->with(['after_commit' => true]);
    }

    /** Posts at once, even inside a transaction: the worker may then not see the row yet. */
    public function beforeCommit(): self
    {
        return $this->with(['after_commit' => false]);
    }

    /**
     * Lets `celery:listen` bring the outcome, as that of a job: events, `failed_jobs`, the dashboard's
     * page of jobs. Needs the table `celery_jobs`.
     */
    public function tracked(): self
    {
        return $this->with(['tracked' => true]);
    }

    /** Sets the id of the task. Default: a fresh UUID. */
    public function withId(string $id): self
    {
        return $this->with(['id' => $id]);
    }

    /**
     * Limits the seconds that the task may run: the worker ends it after $hard, and warns it after
     * $soft.
     */
    public function timeLimit(?float $hard, ?float $soft = null): self
    {
        return $this->with(['timelimit' => [$hard, $soft]]);
    }

    /**
     * Sets further options or message fields; see {@see TaskMessage::make()}.
     *
     * @param  array<string, mixed>  $options
     */
    public function with(array $options): self
    {
        $this->options = array_merge($this->options, $options);

        return $this;
    }

    /** Posts the task. */
    public function post(): Result
    {
        return $this->client->post($this->name, $this->args, $this->queue, $this->options);
    }

    public function toMessage(): TaskMessage
    {
        return TaskMessage::make($this->name, $this->args, $this->queue, $this->options);
    }
}
