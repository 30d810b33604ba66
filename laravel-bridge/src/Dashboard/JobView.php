<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\Outcomes\Outcome;
use Illuminate\Queue\Failed\FailedJobProviderInterface;
use stdClass;
use Throwable;

/**
 * A row of `celery_jobs` as the pages show it.
 */
final class JobView
{
    public function __construct(private readonly FailedJobProviderInterface $failed)
    {
    }

    /**
     * @return array{id: string, task: string, class: string, queue: string, state: string, arguments: string, created_at: float, ended_at: ?float}
     */
    public function line(stdClass $row): array
    {
        $payload = self::payload($row);

        return [
            'id' => (string) $row->id,
            'task' => (string) $row->task,
            'class' => (string) ($payload['displayName'] ?? ''),
            'queue' => (string) $row->queue,
            'state' => (string) $row->state,
            'arguments' => Arguments::show($payload['celery']['args'] ?? []),
            'created_at' => (float) $row->created_at,
            'ended_at' => $row->ended_at === null ? null : (float) $row->ended_at,
        ];
    }

    /**
     * Returns the line with what only the page of one job shows.
     *
     * @return array<string, mixed>
     */
    public function whole(stdClass $row): array
    {
        $outcome = $row->outcome === null ? null : Outcome::fromJson((string) $row->outcome);

        return [
            'arguments' => Arguments::json(self::payload($row)['celery']['args'] ?? [], JSON_PRETTY_PRINT),
            'exception' => $outcome === null || $outcome->state === Outcome::SUCCESS
                ? null
                : trim("{$outcome->type}: {$outcome->message}", ': '),
            'traceback' => $outcome?->traceback,
            'can_retry' => $this->canRetry((string) $row->id),
        ] + $this->line($row);
    }

    /** Returns true if `queue:retry` finds the job: it is in `failed_jobs` under the task's id. */
    public function canRetry(string $id): bool
    {
        try {
            return $this->failed->find($id) !== null;
        } catch (Throwable) {
            return false;
        }
    }

    /**
     * @return array<string, mixed>
     */
    private static function payload(stdClass $row): array
    {
        return (array) json_decode((string) $row->payload, true);
    }
}
