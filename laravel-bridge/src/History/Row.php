<?php

declare(strict_types=1);

namespace CeleryBridge\History;

use stdClass;

/**
 * What happened in one minute to the tasks of one name, or how long one queue was.
 */
final class Row
{
    public const TASK = 'task';

    public const QUEUE = 'queue';

    public int $received = 0;

    public int $succeeded = 0;

    public int $failed = 0;

    public int $retried = 0;

    public int $revoked = 0;

    public Runtimes $runtimes;

    /** The most tasks that waited in a queue. */
    public ?int $length = null;

    public function __construct(public readonly int $minute, public readonly string $kind, public readonly string $name)
    {
        $this->runtimes = new Runtimes();
    }

    public static function of(stdClass $row): self
    {
        $read = new self((int) $row->minute, (string) $row->kind, (string) $row->name);
        foreach (['received', 'succeeded', 'failed', 'retried', 'revoked'] as $count) {
            $read->$count = (int) $row->$count;
        }
        $read->runtimes = Runtimes::fromJson($row->runtimes);
        $read->length = $row->length === null ? null : (int) $row->length;

        return $read;
    }

    public function add(self $other): void
    {
        foreach (['received', 'succeeded', 'failed', 'retried', 'revoked'] as $count) {
            $this->$count += $other->$count;
        }
        $this->runtimes->merge($other->runtimes);
        if ($other->length !== null) {
            $this->length = max($this->length ?? 0, $other->length);
        }
    }

    /** @return array<string, int|string|null> the columns that change */
    public function columns(): array
    {
        return [
            'received' => $this->received, 'succeeded' => $this->succeeded, 'failed' => $this->failed,
            'retried' => $this->retried, 'revoked' => $this->revoked,
            'runtimes' => $this->runtimes->toJson(), 'length' => $this->length,
        ];
    }
}
