<?php

declare(strict_types=1);

namespace CeleryBridge\History;

/**
 * The rows of a span of time, added up in two ways: by task, and by equal steps of time.
 *
 * @phpstan-type Point array{at: int, succeeded: int, failed: int, p50: ?float, p95: ?float}
 * @phpstan-type Task array{name: string, received: int, succeeded: int, failed: int, retried: int, revoked: int, per_minute: float, p50: ?float, p95: ?float, p99: ?float}
 */
final class Series
{
    /** @var array<string, Row> by the name of the task */
    private array $tasks = [];

    /** @var list<Row> the tasks of each step together */
    private array $steps = [];

    /** @var array<string, array<int, int>> by queue and step: its length */
    private array $queues = [];

    /**
     * @param  int  $from  the first minute
     * @param  int  $step  minutes
     * @param  string|null  $task  counts only this one in the steps; null: all
     */
    public function __construct(
        private readonly int $from,
        private readonly int $step,
        private readonly int $count,
        private readonly ?string $task = null,
    ) {
        for ($number = 0; $number < $count; $number++) {
            $this->steps[] = new Row($from + $number * $step, Row::TASK, '');
        }
    }

    /** @param  iterable<Row>  $rows */
    public function add(iterable $rows): self
    {
        foreach ($rows as $row) {
            $number = intdiv($row->minute - $this->from, $this->step);
            if (! isset($this->steps[$number])) {
                continue;
            }
            if ($row->kind === Row::QUEUE) {
                $this->queues[$row->name][$number] = max($this->queues[$row->name][$number] ?? 0, (int) $row->length);

                continue;
            }
            ($this->tasks["_{$row->name}"] ??= new Row($this->from, Row::TASK, $row->name))->add($row);
            if ($this->task === null || $this->task === $row->name) {
                $this->steps[$number]->add($row);
            }
        }

        return $this;
    }

    /** @return list<Task> those with most runs first */
    public function tasks(): array
    {
        $tasks = array_map(fn (Row $row): array => [
            'name' => $row->name,
            'received' => $row->received, 'succeeded' => $row->succeeded, 'failed' => $row->failed,
            'retried' => $row->retried, 'revoked' => $row->revoked,
            'per_minute' => round(($row->succeeded + $row->failed) / ($this->step * $this->count), 2),
            'p50' => $row->runtimes->percentile(0.5),
            'p95' => $row->runtimes->percentile(0.95),
            'p99' => $row->runtimes->percentile(0.99),
        ], array_values($this->tasks));
        usort($tasks, static fn (array $a, array $b): int => [$b['succeeded'] + $b['failed'], $a['name']] <=> [$a['succeeded'] + $a['failed'], $b['name']]);

        return $tasks;
    }

    /** @return list<Point> */
    public function points(): array
    {
        return array_map(static fn (Row $row): array => [
            'at' => 60 * $row->minute,
            'succeeded' => $row->succeeded,
            'failed' => $row->failed,
            'p50' => $row->runtimes->percentile(0.5),
            'p95' => $row->runtimes->percentile(0.95),
        ], $this->steps);
    }

    /** @return array<string, list<?int>> by queue: its length in each step, null where it was not measured */
    public function queues(): array
    {
        ksort($this->queues);

        return array_map(fn (array $lengths): array => array_map(
            static fn (int $number): ?int => $lengths[$number] ?? null,
            range(0, $this->count - 1),
        ), $this->queues);
    }
}
