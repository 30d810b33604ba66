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
    public function __construct(private readonly CeleryFake $fake, private readonly string $id)
    {
    }

    public function id(): string
    {
        return $this->id;
    }

    public function status(): string
    {
        return match (true) {
            $this->fake->isRevoked($this->id) => 'REVOKED',
            ! $this->fake->hasOutcome($this->id) => 'PENDING',
            $this->fake->outcome($this->id) instanceof Throwable => 'FAILURE',
            default => 'SUCCESS',
        };
    }

    public function ready(): bool
    {
        return $this->status() !== 'PENDING';
    }

    public function successful(): bool
    {
        return $this->status() === 'SUCCESS';
    }

    public function failed(): bool
    {
        return $this->status() === 'FAILURE';
    }

    public function get(?float $timeout = null): mixed
    {
        return match ($this->status()) {
            'PENDING' => throw new ResultTimedOut($this->id, $timeout),
            'REVOKED' => throw new TaskFailed($this->id, 'REVOKED', 'TaskRevokedError', 'revoked'),
            'FAILURE' => throw $this->failure(),
            default => $this->fake->outcome($this->id),
        };
    }

    public function traceback(): ?string
    {
        return $this->failed() ? 'Traceback (most recent call last): (made by a test)' : null;
    }

    public function forget(): void
    {
        $this->fake->forgetOutcome($this->id);
    }

    public function revoke(): void
    {
        $this->fake->markRevoked($this->id);
    }

    private function failure(): TaskFailed
    {
        $exception = $this->fake->outcome($this->id);
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
