<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use Throwable;

/**
 * The result of a recorded task: the outcome that the test has set, otherwise always PENDING. Never
 * waits.
 */
final class FakeResult implements Result
{
    public function __construct(private readonly Recorder $recorder, private readonly string $id)
    {
    }

    public function id(): string
    {
        return $this->id;
    }

    public function status(): string
    {
        return $this->recorder->status($this->id);
    }

    public function ready(): bool
    {
        return in_array($this->status(), ['SUCCESS', 'FAILURE', 'REVOKED'], true);
    }

    public function successful(): bool
    {
        return $this->status() === 'SUCCESS';
    }

    public function failed(): bool
    {
        return $this->status() === 'FAILURE';
    }

    public function progress(): mixed
    {
        $outcome = $this->recorder->outcome($this->id);

        return $outcome instanceof FakeState && ! $this->ready() ? $outcome->meta : null;
    }

    public function get(?float $timeout = null): mixed
    {
        return match ($this->status()) {
            'REVOKED' => throw new TaskFailed($this->id, 'REVOKED', 'TaskRevokedError', 'revoked'),
            'FAILURE' => throw $this->failure(),
            'SUCCESS' => $this->recorder->outcome($this->id),
            default => throw new ResultTimedOut($this->id, $timeout),
        };
    }

    public function traceback(): ?string
    {
        return $this->failed() ? 'Traceback (most recent call last): (made by a test)' : null;
    }

    public function forget(): void
    {
        $this->recorder->forget($this->id);
    }

    public function revoke(): void
    {
        $this->recorder->revoke($this->id);
    }

    private function failure(): TaskFailed
    {
        $exception = $this->recorder->outcome($this->id);
        assert($exception instanceof Throwable);

        return new TaskFailed(
            $this->id,
            'FAILURE',
            class_basename($exception),
            $exception->getMessage(),
            $this->traceback(),
            $exception,
        );
    }
}
