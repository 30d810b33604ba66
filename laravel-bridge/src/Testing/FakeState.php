<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

/**
 * The state of a fake task that has not ended, with what the task reports.
 */
final class FakeState
{
    private function __construct(public readonly string $status, public readonly mixed $meta)
    {
    }

    public static function progress(mixed $meta = null): self
    {
        return new self('PROGRESS', $meta);
    }

    /** Makes another state than PROGRESS: STARTED, RETRY, or a custom one. */
    public static function of(string $status, mixed $meta = null): self
    {
        return new self($status, $meta);
    }
}
