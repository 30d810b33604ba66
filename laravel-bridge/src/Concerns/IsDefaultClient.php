<?php

declare(strict_types=1);

namespace CeleryBridge\Concerns;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Results;
use CeleryBridge\PendingCanvas;
use CeleryBridge\PendingTask;
use UnitEnum;

/**
 * Makes a factory the client of its default connection.
 */
trait IsDefaultClient
{
    abstract public function connection(?string $name = null): Client;

    public function post(
        string $task,
        array $args = [],
        string|UnitEnum|null $queue = null,
        array $options = [],
    ): Result {
        return $this->connection()->post($task, $args, $queue, $options);
    }

    public function postMany(iterable $tasks): array
    {
        return $this->connection()->postMany($tasks);
    }

    public function task(string $name, array $args = []): PendingTask
    {
        return $this->connection()->task($name, $args);
    }

    public function chain(iterable $steps): PendingCanvas
    {
        return $this->connection()->chain($steps);
    }

    public function group(iterable $members): PendingCanvas
    {
        return $this->connection()->group($members);
    }

    public function chord(iterable $header, object $body): PendingCanvas
    {
        return $this->connection()->chord($header, $body);
    }

    public function postCanvas(Canvas $canvas, ?bool $afterCommit = null): Result|Results
    {
        return $this->connection()->postCanvas($canvas, $afterCommit);
    }

    public function results(iterable $tasks): Results
    {
        return $this->connection()->results($tasks);
    }

    public function result(string $id): Result
    {
        return $this->connection()->result($id);
    }

    public function forget(string $id): void
    {
        $this->connection()->forget($id);
    }

    public function revoke(string $id): void
    {
        $this->connection()->revoke($id);
    }

    public function name(): string
    {
        return $this->connection()->name();
    }
}
