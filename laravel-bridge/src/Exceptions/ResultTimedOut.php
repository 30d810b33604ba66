<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use RuntimeException;
use Throwable;

/**
 * A task has not ended in the time given to `Result::get()`. It may end later, so the caller can
 * ask again.
 */
final class ResultTimedOut extends RuntimeException implements CeleryBridgeException
{
    public function __construct(public readonly string $taskId, ?float $timeout, ?Throwable $previous = null)
    {
        parent::__construct(
            "task {$taskId} has not ended within ".($timeout === null ? 'the time allowed' : "{$timeout} s"),
            0,
            $previous,
        );
    }
}
