<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\TaskMessage;

/**
 * Adds tasks to the fake's record.
 */
final class FakeTransport implements Transport
{
    public function __construct(private readonly CeleryFake $fake, private readonly string $connection)
    {
    }

    public function ensureUsable(): void
    {
    }

    public function post(TaskMessage $task): void
    {
        $this->fake->record(PostedTask::fromMessage($task, $this->connection));
    }

    public function postMany(string $queue, array $tasks): void
    {
        array_map($this->post(...), $tasks);
    }

    public function forget(string $id): void
    {
        $this->fake->forgetOutcome($id);
    }

    public function revoke(string $id): void
    {
        $this->fake->markRevoked($id);
    }

    public function result(string $id, ?string $task = null): Result
    {
        return new FakeResult($this->fake, $id);
    }
}
