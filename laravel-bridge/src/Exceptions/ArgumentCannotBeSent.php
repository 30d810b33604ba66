<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use InvalidArgumentException;

/**
 * An argument of a task has a type that no Celery worker could read. Nothing was posted.
 */
final class ArgumentCannotBeSent extends InvalidArgumentException implements CeleryBridgeException
{
    /**
     * @param  list<array-key>  $path  the keys that lead to the value
     */
    public static function because(string $task, array $path, string $reason): self
    {
        return new self(sprintf('the argument %s of the task [%s] cannot be sent: %s', implode('.', $path), $task, $reason));
    }
}
