<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use Celery\TaskException;
use Celery\TaskMeta;
use CeleryBridge\Exceptions\TaskFailed;

/**
 * How a task has ended. A plain value.
 */
final class Outcome
{
    public const SUCCESS = 'SUCCESS';

    public const FAILURE = 'FAILURE';

    public const REVOKED = 'REVOKED';

    /** The exception of the body of a chord that did not begin: a task of its header has failed. */
    public const OF_CHORD = 'ChordError';

    private const SKIPPED = 'it did not begin: ';

    /** What Celery stores for a task that was not begun before its `expires`. */
    private const EXPIRED = 'expired';

    /**
     * @param  string  $state  SUCCESS, FAILURE or REVOKED
     * @param  mixed  $result  the value of a success; null if it was read again after a crash and
     * the stored result is gone
     * @param  string|null  $type  the name of the worker's exception
     */
    public function __construct(
        public readonly string $state,
        public readonly mixed $result = null,
        public readonly ?string $type = null,
        public readonly string $message = '',
        public readonly ?string $traceback = null,
    ) {
    }

    /**
     * Reads a stored result; null if the task has not ended.
     */
    public static function fromMeta(TaskMeta $meta): ?self
    {
        if (! $meta->ready()) {
            return null;
        }
        $result = $meta->result;
        if ($result instanceof TaskException) {
            return new self($meta->state, null, $result->type(), $result->getMessage(), $result->traceback());
        }

        return $meta->state === self::SUCCESS
            ? new self($meta->state, $result)
            : new self($meta->state, null, null, is_string($result) ? $result : '', $meta->traceback);
    }

    /**
     * Reads an event that ends a task; null for other events. The event has the value only as text.
     *
     * @param  array<string, mixed>  $fields
     */
    public static function fromEvent(string $type, array $fields): ?self
    {
        return match (true) {
            $type === 'task-succeeded' => new self(self::SUCCESS),
            $type === 'task-failed' => new self(
                self::FAILURE,
                null,
                null,
                (string) ($fields['exception'] ?? ''),
                isset($fields['traceback']) ? (string) $fields['traceback'] : null,
            ),
            $type === 'task-revoked' => new self(
                self::REVOKED,
                null,
                'TaskRevokedError',
                empty($fields['expired']) ? 'revoked' : self::EXPIRED,
            ),
            default => null,
        };
    }

    /**
     * Returns the end of a task that did not begin, because another one of its chain or chord has
     * failed. That is not a failure of its own.
     *
     * @param  string  $task  the task that has failed
     * @param  string|null  $reason  null: the task before it
     */
    public static function skipped(string $task, ?string $reason = null): self
    {
        return new self(self::REVOKED, null, null, self::SKIPPED.($reason ?? "{$task}, the task before it, has no result"));
    }

    /**
     * Returns true if Laravel calls this end a failure. A task that expired has passed the job's
     * `retryUntil()`, which is a failure in Laravel; a task that was revoked is not.
     */
    public function isFailure(): bool
    {
        return $this->state === self::FAILURE
            || $this->state === self::REVOKED && str_contains($this->message, self::EXPIRED)
                && ! str_starts_with($this->message, self::SKIPPED);
    }

    public function exception(string $id): TaskFailed
    {
        return new TaskFailed($id, $this->state, $this->type, $this->message, $this->traceback);
    }

    /** Returns all of it except the result, as the table keeps it. */
    public function toJson(): string
    {
        return (string) json_encode(
            ['state' => $this->state, 'type' => $this->type, 'message' => $this->message, 'traceback' => $this->traceback],
            JSON_INVALID_UTF8_SUBSTITUTE,
        );
    }

    public static function fromJson(string $json): self
    {
        $kept = (array) json_decode($json, true);

        return new self(
            (string) ($kept['state'] ?? self::FAILURE),
            null,
            $kept['type'] ?? null,
            (string) ($kept['message'] ?? ''),
            $kept['traceback'] ?? null,
        );
    }
}
