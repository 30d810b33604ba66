<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Canvas\Canvas;
use Closure;
use Throwable;

/**
 * What happened while the fake was in use: posted tasks, their outcomes, revoked ids.
 */
final class Recorder
{
    /** @var list<PostedTask> */
    private array $posted = [];

    /** @var list<Canvas> the chains, groups and chords that were posted */
    private array $canvases = [];

    /** @var array<string, mixed> the outcomes of posted tasks, by id */
    private array $outcomes = [];

    /** @var list<string> the ids that were revoked, in their order */
    private array $revoked = [];

    /** @var array<string, true> the tasks that a revocation ended */
    private array $endedByRevocation = [];

    public ?Throwable $postFailure = null;

    /**
     * @param  array<string, mixed>  $results  by task name
     */
    public function __construct(public array $results = [])
    {
    }

    public function record(PostedTask $task): void
    {
        if ($this->postFailure !== null) {
            throw $this->postFailure;
        }

        $this->posted[] = $task;
        if (! array_key_exists($task->name, $this->results)) {
            return;
        }

        $result = $this->results[$task->name];
        try {
            $this->outcomes[$task->id] = $result instanceof Closure ? $result($task) : $result;
        } catch (Throwable $e) {
            $this->outcomes[$task->id] = $e;
        }
    }

    /**
     * @return list<PostedTask>
     */
    public function posted(): array
    {
        return $this->posted;
    }

    public function recordCanvas(Canvas $canvas): void
    {
        $this->canvases[] = $canvas;
    }

    /**
     * @return list<Canvas>
     */
    public function canvases(): array
    {
        return $this->canvases;
    }

    /** Sets the outcome of one task: a value, an exception, or a {@see FakeState}. */
    public function answer(string $id, mixed $outcome): void
    {
        $this->outcomes[$id] = $outcome;
    }

    public function status(string $id): string
    {
        if (isset($this->endedByRevocation[$id])) {
            return 'REVOKED';
        }
        if (! array_key_exists($id, $this->outcomes)) {
            return 'PENDING';
        }
        $outcome = $this->outcomes[$id];

        return match (true) {
            $outcome instanceof FakeState => $outcome->status,
            $outcome instanceof Throwable => 'FAILURE',
            default => 'SUCCESS',
        };
    }

    public function outcome(string $id): mixed
    {
        return $this->outcomes[$id] ?? null;
    }

    public function forget(string $id): void
    {
        unset($this->outcomes[$id]);
    }

    public function revoke(string $id): void
    {
        $this->revoked[] = $id;
        if (! in_array($this->status($id), ['SUCCESS', 'FAILURE'], true)) {
            $this->endedByRevocation[$id] = true;
        }
    }

    /**
     * @return list<string>
     */
    public function revoked(): array
    {
        return array_values(array_unique($this->revoked));
    }
}
