<?php

namespace App\Services;

use App\Models\Run;
use App\Models\Task;
use Celery\Client;
use Celery\TaskException;
use Illuminate\Support\Facades\DB;

/**
 * Reads what the page /work shows: the present state of what was started last.
 */
class WorkState
{
    private Client $client;
    private Backlog $backlog;
    private LocalWorkers $workers;

    public function __construct(Client $client, Backlog $backlog, LocalWorkers $workers)
    {
        $this->client = $client;
        $this->backlog = $backlog;
        $this->workers = $workers;
    }

    /**
     * @return array{tasks: mixed, long: ?array, fail: ?array, chord: ?array, items: ?array, workers: array}
     */
    public function all(): array
    {
        $items = $this->items();

        return [
            'tasks' => Task::query()->orderByDesc('id')->limit(5)->get(['id', 'name', 'status', 'message']),
            'long' => $this->task('long'),
            'fail' => $this->task('fail'),
            'chord' => $this->chord(),
            'items' => $items,
            'workers' => $this->workers($items['by'] ?? []),
        ];
    }

    private function task(string $kind): ?array
    {
        $run = Run::latestOf($kind);

        return $run === null ? null : $this->described($run, $run->tasks[0]);
    }

    private function chord(): ?array
    {
        $run = Run::latestOf('chord');
        if ($run === null) {
            return null;
        }
        $tasks = array_map(fn (string $id) => $this->described($run, $id), $run->tasks);

        return ['sum' => array_pop($tasks), 'members' => $tasks];
    }

    /**
     * Returns what is stored for a task: its state, and what it says of itself.
     *
     * A task that has ended has `total`: the seconds from the post to the end.
     */
    private function described(Run $run, string $id): array
    {
        $meta = $this->client->result($id)->meta();
        $failure = $meta->result instanceof TaskException ? $meta->result : null;

        return [
            'id' => $id,
            'state' => $meta->state,
            'reason' => $failure === null ? null : "{$failure->type()}: {$failure->getMessage()}",
            'total' => $meta->ready() && $meta->dateDone !== null ? $run->secondsUntil($meta->dateDone) : null,
        ] + (is_array($meta->result) ? $meta->result : []) + ['worker' => $meta->worker];
    }

    /**
     * Counts the items. Those that are neither done nor in the broker are lost.
     *
     * `lost` is null if the broker does not say how many items workers hold. Then those that neither
     * wait nor are done count as held.
     */
    private function items(): ?array
    {
        $run = Run::latestOf('items');
        if ($run === null) {
            return null;
        }
        $count = $this->counted($run);
        // A Python worker takes a message out of the queue first, and stores it as held after that.
        // In between it is in neither place, so an item is lost only if it stays so.
        for ($look = 0; $count['lost'] > 0 && $look < 5; $look++) {
            usleep(20_000);
            $count = $this->counted($run);
        }

        return $count;
    }

    private function counted(Run $run): array
    {
        // Whatever leaves the broker after this moment is done before: workers acknowledge late.
        [$waiting, $held] = $this->backlog->count(WorkService::QUEUE);
        $by = DB::table('items')->where('run_id', $run->id)->whereNotNull('done_at')
            ->groupBy('worker')->orderBy('worker')->selectRaw('worker, COUNT(*) AS done')->pluck('done', 'worker');
        $items = DB::table('items')->where('run_id', $run->id)->selectRaw(
            'COALESCE(SUM(done_at > UTC_TIMESTAMP(3) - INTERVAL 1 SECOND), 0) AS rate, '
            . 'COALESCE(SUM(runs > 1), 0) AS again, MAX(done_at) AS last'
        )->first();
        $done = (int) $by->sum();
        $elsewhere = max(0, $run->posted - $done - $waiting);
        $seconds = $items->last === null ? null : $run->secondsUntil(new \DateTimeImmutable("$items->last UTC"));

        return [
            'posted' => $run->posted,
            'waiting' => $waiting,
            'held' => $held ?? $elsewhere,
            'done' => $done,
            'lost' => $held === null ? null : max(0, $elsewhere - $held),
            'again' => (int) $items->again,
            // Of the last second; when all are done, of the whole run.
            'rate' => $done < $run->posted ? (int) $items->rate : (int) round($done / max(0.001, $seconds)),
            'seconds' => $seconds,
            'by' => $by->map(static fn ($count) => (int) $count)->all(),
        ];
    }

    /**
     * @param array<string, int> $done by the worker's name
     * @return list<array{name: string, pid: ?int, done: int, canBeKilled: bool}>
     */
    private function workers(array $done): array
    {
        $workers = [];
        foreach ($done as $node => $count) {
            $workers[strtok($node, '@')] = ['pid' => null, 'done' => $count];
        }
        foreach ($this->workers->running() as $name => $pid) {
            $workers[$name] = ['pid' => $pid, 'done' => $workers[$name]['done'] ?? 0];
        }
        ksort($workers);

        return array_map(fn (string $name, array $worker) => $worker + [
            'name' => $name,
            'canBeKilled' => $worker['pid'] !== null && str_starts_with($name, 'rust'),
        ], array_keys($workers), $workers);
    }
}
