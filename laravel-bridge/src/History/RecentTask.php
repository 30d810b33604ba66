<?php

declare(strict_types=1);

namespace CeleryBridge\History;

use Celery\Event;
use stdClass;

/**
 * A task as its last event has left it.
 */
final class RecentTask
{
    private const STATES = [
        'task-succeeded' => 'SUCCESS',
        'task-failed' => 'FAILURE',
        'task-retried' => 'RETRY',
        'task-revoked' => 'REVOKED',
    ];

    private const EXCEPTION = 2_000;

    private const TRACEBACK = 20_000;

    public function __construct(
        public readonly string $id,
        public readonly string $name,
        public readonly string $arguments,
        public readonly string $state,
        public readonly string $worker,
        public readonly ?string $exception,
        public readonly ?string $traceback,
        public readonly ?float $runtime,
        public readonly float $at,
    ) {
    }

    public static function of(Event $event, string $name, string $arguments): self
    {
        $runtime = $event->fields['runtime'] ?? null;

        return new self(
            self::cut((string) $event->uuid, 191),
            $name,
            $arguments,
            self::STATES[$event->type] ?? '',
            self::cut($event->hostname, 191),
            self::text($event, 'exception', self::EXCEPTION),
            self::text($event, 'traceback', self::TRACEBACK),
            is_float($runtime) || is_int($runtime) ? (float) $runtime : null,
            $event->timestamp,
        );
    }

    public static function ofRow(stdClass $row): self
    {
        return new self(
            (string) $row->id,
            (string) $row->name,
            (string) $row->arguments,
            (string) $row->state,
            (string) $row->worker,
            $row->exception === null ? null : (string) $row->exception,
            $row->traceback === null ? null : (string) $row->traceback,
            $row->runtime === null ? null : (float) $row->runtime,
            (float) $row->at,
        );
    }

    public function isFailure(): bool
    {
        return $this->state === 'FAILURE';
    }

    private static function text(Event $event, string $field, int $bytes): ?string
    {
        $text = $event->fields[$field] ?? null;

        return is_string($text) ? self::cut($text, $bytes) : null;
    }

    private static function cut(string $text, int $bytes): string
    {
        return mb_strcut(mb_scrub($text), 0, $bytes);
    }
}
