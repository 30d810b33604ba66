<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\TaskMessage;

/**
 * Adds tasks to the record instead of sending them.
 */
final class FakeTransport implements Transport
{
    public function __construct(private readonly Recorder $recorder, private readonly string $connection)
    {
    }

    public function ensureUsable(): void
    {
    }

    public function post(TaskMessage $task): void
    {
        $this->recorder->record(PostedTask::fromMessage($task, $this->connection));
    }

    public function postMany(string $queue, array $tasks): void
    {
        array_map($this->post(...), $tasks);
    }

    public function forget(string $id): void
    {
        $this->recorder->forget($id);
    }

    public function revoke(string $id): void
    {
        $this->recorder->revoke($id);
    }

    public function result(string $id, ?string $task = null): Result
    {
        return new FakeResult($this->recorder, $id);
    }
}
