<?php

namespace App\Services;

use App\Models\Run;
use Celery\Chord;
use Celery\Client;
use Celery\PublishFailed;
use Celery\Signature;
use DateTimeImmutable;
use DateTimeZone;
use Illuminate\Support\Facades\DB;

/**
 * Starts what the page /work shows.
 */
class WorkService
{
    public const QUEUE = 'work';
    public const ITEMS = 1000;
    public const MEMBERS = 16;

    private Client $client;

    public function __construct(Client $client)
    {
        $this->client = $client;
    }

    /**
     * Posts a task that reports its progress.
     */
    public function long(float $seconds): void
    {
        $at = $this->now();
        $this->remember('long', $at, [$this->client->sendTask('demo.long', [$seconds])->id]);
    }

    /**
     * Posts a task that fails.
     */
    public function fail(): void
    {
        $at = $this->now();
        $this->remember('fail', $at, [$this->client->sendTask('demo.fail', [random_int(1000, 9999)])->id]);
    }

    /**
     * Posts tasks that run side by side, and one that gets all their results.
     *
     * @param float $seconds the time of one member; the others take up to twice as long
     */
    public function chord(float $seconds): void
    {
        $members = [];
        foreach (range(1, self::MEMBERS) as $n) {
            $members[] = new Signature('demo.square', [$n, $seconds * (1 + ($n * 7 % self::MEMBERS) / self::MEMBERS)]);
        }
        $at = $this->now();
        // A worker sends the last task, by its own default queue if none is named.
        $sum = $this->client->send(new Chord($members, new Signature('demo.sum', queue: self::QUEUE)));
        $ids = array_map(static fn ($member) => $member->id, iterator_to_array($sum->parent));
        $this->remember('chord', $at, [...$ids, $sum->id]);
    }

    /**
     * Inserts 1,000 rows and posts a task for each, which completes it.
     */
    public function items(int $milliseconds): void
    {
        $run = $this->remember('items', $this->now(), null);
        DB::table('items')->insert(array_fill(0, self::ITEMS, ['run_id' => $run->id]));
        $rows = DB::table('items')->where('run_id', $run->id)->orderBy('id')->pluck('id')->all();
        $tasks = array_map(static fn ($id) => new Signature('demo.item', [$id, $milliseconds], ignoreResult: true), $rows);
        try {
            $run->update(['posted' => count($this->client->sendTasks($tasks))]);
        } catch (PublishFailed $e) {
            $run->update(['posted' => count($e->confirmed())]);

            throw $e;
        }
    }

    private function now(): string
    {
        return (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d H:i:s.v');
    }

    /**
     * @param list<string>|null $tasks the ids of its tasks
     */
    private function remember(string $kind, string $postedAt, ?array $tasks): Run
    {
        return Run::create(['kind' => $kind, 'tasks' => $tasks, 'posted_at' => $postedAt]);
    }
}
