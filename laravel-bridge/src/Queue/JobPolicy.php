<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use DateTimeImmutable;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Contracts\Queue\ShouldBeUniqueUntilProcessing;

/**
 * Decides what becomes of a job's settings on Celery: a field of the message, or a refusal. The
 * table "What of a Laravel job holds on Celery" in the README lists all of them.
 */
final class JobPolicy
{
    /**
     * Refuses a job that no Celery worker could run, or whose settings only a PHP worker can keep.
     *
     * @throws JobCannotRunOnCelery
     */
    public static function refuseUnfit(object $job, JobSettings $settings): void
    {
        $reason = self::reasonAgainst($job, $settings);
        if ($reason !== null) {
            throw JobCannotRunOnCelery::because($job, $reason);
        }
    }

    /**
     * @return array<string, mixed> fields of the message
     */
    public static function fields(JobSettings $settings): array
    {
        // As in Laravel, a job with an end in time may be tried without limit until then.
        $tries = $settings->retryUntil === null ? $settings->tries : 0;
        $fields = ['tries' => $tries === null ? null : max(0, $tries), 'backoff' => self::waits($settings->backoff)];
        // In Laravel, 0 lifts the limit of the PHP worker. A Celery worker's own limits stay.
        if ($settings->timeout !== null && $settings->timeout > 0) {
            $fields['timelimit'] = [$settings->timeout, null];
        }
        if ($settings->retryUntil !== null) {
            $fields['expires'] = new DateTimeImmutable("@{$settings->retryUntil}");
        }

        return array_filter($fields, static fn (mixed $value): bool => $value !== null);
    }

    /**
     * Returns the seconds before each retry, as a Celery worker reads them.
     *
     * @return non-empty-list<int>|null
     */
    private static function waits(?string $backoff): ?array
    {
        return $backoff === null || $backoff === ''
            ? null
            : array_map(static fn (string $seconds): int => max(0, (int) $seconds), explode(',', $backoff));
    }

    private static function reasonAgainst(object $job, JobSettings $settings): ?string
    {
        return match (true) {
            ! empty($job->chained) => 'it begins a chain, and a Celery worker does not start the next job',
            ! empty($job->batchId) => 'it belongs to a batch, and a Celery worker does not report to a batch',
            $settings->isEncrypted => 'it must be encrypted, and a Celery worker cannot decrypt it',
            $settings->middleware !== [] => sprintf(
                'it has the middleware %s, which only a PHP worker runs',
                implode(', ', array_map(self::nameOf(...), $settings->middleware)),
            ),
            $settings->maxExceptions !== null => 'it has $maxExceptions, and a Celery worker does not count exceptions. '
                .'Limit the retries in the task\'s definition',
            $settings->isDebounced => 'it is debounced, and a Celery worker does not see that a later dispatch replaces it',
            $job instanceof ShouldBeUniqueUntilProcessing => 'it is unique until its processing, and nothing here sees '
                .'when a Celery worker begins it. Use ShouldBeUnique with a $uniqueFor of some seconds',
            $job instanceof ShouldBeUnique && $settings->uniqueFor <= 0 => 'it is unique without an end: nothing here '
                .'sees the end of a Celery task, so its lock would never be released. Give it a $uniqueFor of some seconds',
            default => null,
        };
    }

    private static function nameOf(mixed $middleware): string
    {
        return is_string($middleware) ? $middleware : get_debug_type($middleware);
    }
}
