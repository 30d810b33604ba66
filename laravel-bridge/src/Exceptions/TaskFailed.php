<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use RuntimeException;
use Throwable;

/**
 * The task of the requested result failed, or was revoked.
 */
final class TaskFailed extends RuntimeException implements CeleryBridgeException
{
    /**
     * @param  string  $status  FAILURE or REVOKED
     * @param  string|null  $type  the name of the worker's exception, such as ValueError. It is
     * only text: no PHP class of this name is looked up
     * @param  string|null  $traceback  the worker's traceback
     */
    public function __construct(
        public readonly string $taskId,
        public readonly string $status,
        public readonly ?string $type,
        string $message,
        public readonly ?string $traceback = null,
        ?Throwable $previous = null,
    ) {
        parent::__construct(
            sprintf('task %s ended as %s: %s', $taskId, $status, $type === null ? $message : "{$type}: {$message}"),
            0,
            $previous,
        );
    }

    /** Returns PHP's own text, with the worker's traceback before that of PHP. */
    public function __toString(): string
    {
        return $this->traceback === null
            ? parent::__toString()
            : sprintf("%s: %s\n\n%s\n\n%s", self::class, $this->getMessage(), trim($this->traceback), $this->getTraceAsString());
    }

    /**
     * Makes the exception from the stored result of a failed task: an object or array with exc_type
     * and exc_message.
     */
    public static function fromStored(string $taskId, string $status, mixed $stored, ?string $traceback): self
    {
        if (is_object($stored)) {
            $stored = get_object_vars($stored);
        }

        if (! is_array($stored)) {
            return new self($taskId, $status, null, is_scalar($stored) ? (string) $stored : 'no details', $traceback);
        }

        $message = $stored['exc_message'] ?? '';
        $parts = is_array($message) ? $message : [$message];
        $words = array_map(
            static fn (mixed $part): string => is_string($part) ? $part : (string) json_encode($part),
            array_values($parts),
        );
        $type = $stored['exc_type'] ?? null;

        return new self($taskId, $status, is_string($type) ? $type : null, implode(', ', $words), $traceback);
    }
}
