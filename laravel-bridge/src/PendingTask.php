<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Result;
use DateInterval;
use DateTimeInterface;
use UnitEnum;

/**
 * A task being put together in Laravel's words. Nothing is sent before `post()`.
 */
final class PendingTask
{
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

    /** The queue the task goes to. */
    public function onQueue(string|UnitEnum|null $queue): self
    {
        $this->queue = $queue;

        return $this;
    }

    /** Run it no earlier: after so many seconds, after an interval, or at a time. */
    public function delay(DateTimeInterface|DateInterval|int|float|null $delay): self
    {
        return $this->with(['delay' => $delay]);
    }

    /** Do not run it later than this: a time, or seconds from now. */
    public function expires(DateTimeInterface|DateInterval|int|float $expires): self
    {
        return $this->with(['expires' => $expires]);
    }

    /** Post after the open transaction commits; not at all if it rolls back. */
    public function afterCommit(): self
    {
        return $this->with(['after_commit' => true]);
    }

    /** Post at once, even inside a transaction: the worker may then not see the row yet. */
    public function beforeCommit(): self
    {
        return $this->with(['after_commit' => false]);
    }

    /** The id of the task, instead of a fresh UUID. */
    public function withId(string $id): self
    {
        return $this->with(['id' => $id]);
    }

    /**
     * Seconds the task may run: the worker ends it after $hard, and warns it after $soft.
     */
    public function timeLimit(?float $hard, ?float $soft = null): self
    {
        return $this->with(['timelimit' => [$hard, $soft]]);
    }

    /**
     * Further options or message fields; see {@see TaskMessage::make()}.
     *
     * @param  array<string, mixed>  $options
     */
    public function with(array $options): self
    {
        $this->options = array_merge($this->options, $options);

        return $this;
    }

    /** Send it. */
    public function post(): Result
    {
        return $this->client->post($this->name, $this->args, $this->queue, $this->options);
    }

    public function toMessage(): TaskMessage
    {
        return TaskMessage::make($this->name, $this->args, $this->queue, $this->options);
    }
}
