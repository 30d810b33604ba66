<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use LogicException;

/**
 * The program waits for the result of a task that no worker can have: its post waits for the commit
 * of a database transaction, or was dropped.
 */
final class TaskNotPosted extends LogicException implements CeleryBridgeException
{
    public static function beforeCommit(string $id): self
    {
        return new self("task {$id} is not posted yet: it waits for the commit of the open database transaction. "
            .'Wait for the result after the commit, or post with beforeCommit().');
    }

    public static function rolledBack(string $id): self
    {
        return new self("task {$id} was not posted: its database transaction was rolled back, or a callback before "
            .'the post failed after the commit.');
    }
}
