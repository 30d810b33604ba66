<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use Celery\Client;
use Celery\Event;
use Celery\Events;
use Celery\ResultTimeout;
use Celery\Unreadable;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\History\Recorder;
use CeleryBridge\TaskMessage;
use CeleryConnectionException;
use CeleryPublishException;
use Closure;
use stdClass;
use Throwable;

/**
 * Learns of the ends of tracked jobs on one Celery connection, and writes them.
 *
 * Events make it fast, stored results make it right: the results of open rows are read at the start
 * and every `$interval` seconds. So nothing depends on an event that was lost, or that a worker does
 * not send. Any number of listeners may run.
 *
 * It also posts the tasks of rows whose program ended between the row and the post. Such a program
 * may have posted the task after all. So both posts are guarded by the task's id, and the second
 * one queues nothing.
 */
final class Listener
{
    /** The events that are handled together. */
    private const BATCH = 200;

    /** The open rows whose results one reading asks for. Later readings go on behind them. */
    private const ROWS = 5_000;

    private ?Events $events = null;

    /** The id behind which the next reading begins. */
    private string $cursor = '';

    private float $nextReading = 0.0;

    private readonly float $lease;

    /**
     * @param  Closure(): Client  $client
     * @param  float  $keep  seconds that the rows of ended jobs stay
     * @param  (Closure(TaskMessage): mixed)|null  $post  posts the task of a row; null: does not post
     * @param  float  $patience  seconds in which a program posts the task after it has written the row
     * @param  Recorder|null  $recorder  counts the events for the history
     */
    public function __construct(
        private readonly Closure $client,
        private readonly string $connection,
        private readonly TrackedJobs $jobs,
        private readonly Settlement $settlement,
        private readonly float $interval = 10.0,
        private readonly float $keep = INF,
        private readonly ?Closure $post = null,
        private readonly float $patience = 60.0,
        private readonly ?Recorder $recorder = null,
    ) {
        $this->lease = 3 * $interval;
    }

    /**
     * Handles the events of at most one second, and the results if their reading is due. Throws if
     * the broker or the database cannot be used; the next call begins anew.
     */
    public function turn(): void
    {
        // Before the subscription, so that a new writer counts all that it hears.
        $this->recorder?->turn();
        if (microtime(true) >= $this->nextReading) {
            // Before the reading, so that no end falls between the two.
            $this->events ??= ($this->client)()->events('task-*', INF);
            $this->read();
            $this->nextReading = microtime(true) + $this->interval;
        }

        $wait = max(0.0, min(1.0, $this->nextReading - microtime(true)));
        $batch = [];
        while (count($batch) < self::BATCH && ($event = $this->events?->next($batch === [] ? $wait : 0.0)) !== null) {
            $batch[] = $event;
        }
        $this->recorder?->hear($batch, count($batch) < self::BATCH, $this->nameOf(...));
        if ($batch !== []) {
            $this->hear($batch);
        }
    }

    private function nameOf(string $id): ?string
    {
        try {
            return $this->jobs->find($this->connection, $id)?->task;
        } catch (Throwable) {
            return null;
        }
    }

    /**
     * Reads the results of open rows once, and takes over what other listeners have left.
     */
    public function read(): void
    {
        foreach ($this->jobs->abandoned($this->connection, $this->lease) as $row) {
            // The stored result has the value, which the row does not keep.
            $this->settle($row, $this->outcomes([$row->id])[$row->id] ?? Outcome::fromJson((string) $row->outcome));
        }

        if ($this->post !== null) {
            $this->postLeftRows($this->post);
        }

        if (is_finite($this->keep)) {
            $this->jobs->prune($this->connection, microtime(true) - $this->keep);
        }

        for ($left = self::ROWS; $left > 0; $left -= $rows->count()) {
            $rows = $this->jobs->open($this->connection, $this->cursor);
            if ($rows->isEmpty()) {
                $this->cursor = '';
                break;
            }
            $outcomes = $this->outcomes($rows->pluck('id')->all());
            foreach ($rows as $row) {
                if (isset($outcomes[$row->id])) {
                    $this->end($row, $outcomes[$row->id]);
                }
            }
            $this->cursor = (string) $rows->last()->id;
        }
    }

    /**
     * @param  Closure(TaskMessage): mixed  $post
     */
    private function postLeftRows(Closure $post): void
    {
        $rows = $this->jobs->unposted($this->connection, microtime(true) - $this->patience, $this->lease);
        // A task that has ended was posted. Its end is read below.
        $outcomes = $this->outcomes(array_column($rows, 'id'));
        foreach ($rows as $row) {
            if (isset($outcomes[$row->id])) {
                continue;
            }
            try {
                $post(StoredMessage::of($row->payload)->task($row->id)->once());
            } catch (CeleryConnectionException|CeleryPublishException $e) {
                // The row is claimed for a while, and tried again afterwards.
                throw $e;
            } catch (Throwable $e) {
                $this->end($row, new Outcome(Outcome::FAILURE, null, $e::class, $e->getMessage()));

                continue;
            }
            $this->jobs->posted([$row->id]);
        }
    }

    /** Ends the subscription: the next turn subscribes anew, and reads all results. */
    public function reset(): void
    {
        $this->events = null;
        $this->nextReading = 0.0;
        $this->cursor = '';
    }

    /**
     * @param  non-empty-list<Event>  $batch
     */
    private function hear(array $batch): void
    {
        $ids = array_values(array_unique(array_filter(array_map(static fn (Event $event): ?string => $event->uuid, $batch))));
        $rows = $this->jobs->openOf($this->connection, $ids)->keyBy('id');
        if ($rows->isEmpty()) {
            return;
        }

        $ends = [];
        foreach ($batch as $event) {
            $row = $rows->get($event->uuid ?? '');
            if ($row === null) {
                continue;
            }
            if ($event->type === 'task-retried' && $this->jobs->retried($row->id, $event->timestamp)) {
                $this->settlement->retried($row, isset($event->fields['exception']) ? (string) $event->fields['exception'] : null);
            }
            $end = Outcome::fromEvent($event->type, $event->fields);
            if ($end !== null) {
                $ends[$row->id] = $end;
            }
        }

        $stored = $this->outcomes(array_map(strval(...), array_keys($ends)));
        foreach ($ends as $id => $end) {
            $this->end($rows->get($id), $stored[$id] ?? $end);
        }
    }

    /**
     * Returns how these tasks have ended, of those that have.
     *
     * @param  list<string>  $ids
     * @return array<array-key, Outcome>
     */
    private function outcomes(array $ids): array
    {
        if ($ids === []) {
            return [];
        }

        $set = ($this->client)()->results($ids);
        $pending = $ended = [];
        try {
            try {
                // Asks for all of them at once. The results remember what they were told.
                $set->get(0.0, propagate: false);
            } catch (ResultTimeout $e) {
                $pending = array_flip($e->pending());
            }
            foreach ($set as $result) {
                $outcome = isset($pending[$result->id]) ? null : Outcome::fromMeta($result->meta());
                if ($outcome !== null) {
                    $ended[$result->id] = $outcome;
                }
            }
        } catch (Unreadable $e) {
            if (count($ids) === 1) {
                return [$ids[0] => new Outcome(Outcome::FAILURE, null, 'Unreadable', $e->getMessage())];
            }
            foreach ($ids as $id) {
                $ended += $this->outcomes([$id]);
            }
        }

        return $ended;
    }

    private function end(stdClass $row, Outcome $outcome): void
    {
        $outcome = $this->skipped($row, $outcome) ?? $outcome;
        if ($this->jobs->end($row, $outcome, $this->lease)) {
            $this->settle($row, $outcome);
        }
    }

    private function settle(stdClass $row, Outcome $outcome): void
    {
        $this->settlement->run($row, $outcome);
        $message = self::messageOf($row);
        if ($outcome->state !== Outcome::SUCCESS && $message?->after()) {
            // No worker says of each of them that it will not run.
            foreach ($this->jobs->openOf($this->connection, $message->after()) as $follower) {
                $this->end($follower, Outcome::skipped($row->task));
            }
        }
        $this->jobs->settled($row->id);
        if (! $message?->keepsResult()) {
            ($this->client)()->result($row->id)->forget();
        }
    }

    /**
     * Returns the end of a task that a worker calls a failure although it never began: the one before
     * it failed. Null for a failure of its own.
     */
    private function skipped(stdClass $row, Outcome $outcome): ?Outcome
    {
        $message = $outcome->state === Outcome::FAILURE ? self::messageOf($row) : null;
        if (! $message?->isOfCanvas()) {
            return null;
        }
        if ($outcome->type === Outcome::OF_CHORD) {
            return Outcome::skipped($row->task, $outcome->message);
        }
        if (count($message->before()) !== 1) {
            return null;
        }
        [$before] = $message->before();
        $known = $this->jobs->find($this->connection, $before);
        $end = $known?->ended_at === null ? ($this->outcomes([$before])[$before] ?? null)?->state : $known->state;

        return in_array($end, [Outcome::FAILURE, Outcome::REVOKED], true) ? Outcome::skipped($known?->task ?? $before) : null;
    }

    /** Returns the message of a row; null if its payload cannot be read. */
    private static function messageOf(stdClass $row): ?StoredMessage
    {
        try {
            return StoredMessage::of((string) $row->payload);
        } catch (JobCannotRunOnCelery) {
            return null;
        }
    }
}
