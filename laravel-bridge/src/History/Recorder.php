<?php

declare(strict_types=1);

namespace CeleryBridge\History;

use Celery\Event;
use CeleryBridge\Dashboard\Arguments;
use Closure;
use Illuminate\Support\Str;

/**
 * Counts the events that a listener hears, by minute and task, and writes the counts to
 * `celery_minutes`, and the newest tasks to `celery_recent_tasks`. Of several listeners, one writes; the others are ready to take over.
 *
 * Counts wait at most `$pause` seconds in memory. If the listener is killed, they are lost.
 */
final class Recorder
{
    /** The name of all tasks beyond the most names of a minute, and of those whose name is unknown. */
    public const OTHER = '(other)';

    /** The names of one minute. Those that come later share a row. */
    private const NAMES = 200;

    /** The minutes that wait while the database cannot be written. */
    private const WAITING = 10;

    /** The tasks of one write, of those that failed and of the others each. */
    private const RECENT = 100;

    private const NO_TASKS = ['failed' => [], 'others' => []];

    /** The bytes of the arguments of a task that is under way. */
    private const ARGUMENTS = 300;

    private readonly string $owner;

    private readonly KnownTasks $known;

    /** @var array<int, array<string, Row>> by minute and name */
    private array $counts = [];

    private int $minute = 0;

    /** @var array<string, true> the rows that the current minute has */
    private array $used = [];

    /** @var array{failed: array<array-key, RecentTask>, others: array<array-key, RecentTask>} by id */
    private array $recent = self::NO_TASKS;

    /** @var array{list<Row>, list<RecentTask>}|null what a write that failed had taken */
    private ?array $taken = null;

    private int $written = 0;

    private bool $records = false;

    private bool $hears = false;

    /** Whether all events from before the claim were heard: the writer before has counted them. */
    private bool $isDrained = false;

    private float $next = 0.0;

    /**
     * @param  Closure(): array<string, int>  $lengths  reads the lengths of the queues
     * @param  float  $keep  seconds that rows stay
     * @param  float  $pause  seconds between two writes
     * @param  float|null  $lease  seconds after which another listener takes over from a silent one;
     * null: three pauses
     */
    public function __construct(
        private readonly Minutes $minutes,
        private readonly string $connection,
        private readonly Closure $lengths,
        private readonly float $keep,
        private readonly float $pause = 10.0,
        private readonly ?float $lease = null,
    ) {
        $this->owner = (string) Str::uuid();
        $this->known = new KnownTasks();
    }

    /**
     * @param  list<Event>  $events  those that came together
     * @param  bool  $isLast  whether no more wait
     * @param  Closure(string): ?string  $nameOf  the name of a task that is not known from its events
     */
    public function hear(array $events, bool $isLast, Closure $nameOf): void
    {
        $this->hears = true;
        foreach ($events as $event) {
            $name = $event->fields['name'] ?? null;
            if ($event->uuid !== null && is_string($name) && $name !== '') {
                $arguments = Arguments::show($event->fields['args'] ?? '', $event->fields['kwargs'] ?? '');
                $this->known->remember($event->uuid, self::cut($name, 191), self::cut($arguments, self::ARGUMENTS));
            }
            if ($this->records && $this->isDrained) {
                $this->count($event, $nameOf);
            }
        }
        $this->isDrained = $this->isDrained || $isLast;
    }

    /**
     * Writes what was counted, if it is time to. Throws if the database cannot be used; what was
     * counted is kept for the next call.
     */
    public function turn(): void
    {
        if (microtime(true) < $this->next) {
            return;
        }
        $this->next = microtime(true) + $this->pause;
        $this->bound();

        $records = $this->minutes->claim($this->connection, $this->owner, $this->lease ?? 3 * $this->pause);
        if (! $records || ! $this->records) {
            $this->drop();
        }
        if ($records && ! $this->records) {
            [$this->written, $this->isDrained] = [0, ! $this->hears];
        }
        $this->records = $records;
        if ($records) {
            $this->measure();
            $this->write();
            $this->minutes->prune($this->connection, intdiv(time() - (int) $this->keep, 60));
        }
    }

    /** Writes what was counted, and lets another listener write. */
    public function stop(): void
    {
        if ($this->records) {
            $this->write();
            $this->minutes->release($this->connection, $this->owner);
            $this->records = false;
        }
    }

    /** @param  Closure(string): ?string  $nameOf */
    private function count(Event $event, Closure $nameOf): void
    {
        $counter = match ($event->type) {
            'task-received' => 'received',
            'task-succeeded' => 'succeeded',
            'task-failed' => 'failed',
            'task-retried' => 'retried',
            'task-revoked' => 'revoked',
            default => null,
        };
        if ($counter === null || $event->uuid === null) {
            return;
        }
        $name = $this->known->nameOf($event->uuid) ?? $nameOf($event->uuid) ?? self::OTHER;
        $row = $this->row(Row::TASK, $name);
        $row->$counter++;
        $runtime = $event->fields['runtime'] ?? null;
        if ($counter === 'succeeded' && (is_float($runtime) || is_int($runtime))) {
            $row->runtimes->add((float) $runtime);
        }
        if ($counter !== 'received') {
            $this->note(RecentTask::of($event, $name, $this->known->argumentsOf($event->uuid)));
        }
    }

    /** Keeps the newest tasks until the next write: failures do not make room for others. */
    private function note(RecentTask $task): void
    {
        $list = $task->isFailure() ? 'failed' : 'others';
        unset($this->recent['failed'][$task->id], $this->recent['others'][$task->id]);
        $this->recent[$list][$task->id] = $task;
        if (count($this->recent[$list]) > 2 * self::RECENT) {
            $this->recent[$list] = array_slice($this->recent[$list], -self::RECENT, null, true);
        }
    }

    /** @return list<RecentTask> */
    private function recent(): array
    {
        $newest = array_map(static fn (array $tasks): array => array_slice(array_values($tasks), -self::RECENT), $this->recent);

        return [...$newest['failed'], ...$newest['others']];
    }

    private function row(string $kind, string $name): Row
    {
        $minute = intdiv(time(), 60);
        if ($minute !== $this->minute) {
            [$this->minute, $this->used] = [$minute, []];
        }
        $key = "{$kind} {$name}";
        if (! isset($this->used[$key]) && count($this->used) >= self::NAMES) {
            $key = "{$kind} ".($name = self::OTHER);
        } else {
            $this->used[$key] = true;
        }

        return $this->counts[$minute][$key] ??= new Row($minute, $kind, $name);
    }

    private function measure(): void
    {
        foreach (($this->lengths)() as $queue => $length) {
            $row = $this->row(Row::QUEUE, self::cut((string) $queue, 191));
            $row->length = max($row->length ?? 0, $length);
        }
    }

    private function write(): void
    {
        // A write that failed is repeated as it was, because the database may have it.
        if ($this->taken === null && $this->counts !== []) {
            $this->taken = [array_merge(...array_map(array_values(...), array_values($this->counts))), $this->recent()];
            [$this->counts, $this->recent] = [[], self::NO_TASKS];
        }
        if ($this->taken === null) {
            return;
        }
        if (! $this->minutes->write($this->connection, $this->owner, $this->written + 1, ...$this->taken)) {
            $this->records = false;
            $this->drop();

            return;
        }
        $this->written++;
        $this->taken = null;
    }

    private function drop(): void
    {
        [$this->counts, $this->recent, $this->taken] = [[], self::NO_TASKS, null];
    }

    private static function cut(string $text, int $bytes): string
    {
        return mb_strcut(mb_scrub($text), 0, $bytes);
    }

    /** Forgets the oldest minutes of a long outage. */
    private function bound(): void
    {
        $this->counts = array_slice($this->counts, -self::WAITING, null, true);
    }
}
