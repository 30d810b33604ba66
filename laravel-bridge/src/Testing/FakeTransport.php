<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Canvas\Canvas;
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

    public function postCanvas(Canvas $canvas): void
    {
        array_map($this->post(...), $canvas->tasks());
        $this->recorder->recordCanvas($canvas);
    }

    public function ended(array $ids, ?float $timeout): array
    {
        $states = array_combine($ids, array_map($this->recorder->status(...), $ids));

        return array_intersect($states, ['SUCCESS', 'FAILURE', 'REVOKED']);
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
