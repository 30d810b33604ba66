<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Container\Container;
use Illuminate\Database\Connection;
use Illuminate\Database\ConnectionInterface;
use Illuminate\Database\Query\Builder;
use Illuminate\Queue\Failed\DatabaseUuidFailedJobProvider;
use Illuminate\Support\Carbon;
use Illuminate\Support\Collection;
use stdClass;
use Throwable;

/**
 * The table `celery_jobs`: one row for each job that was sent to Celery, with the id of its task.
 *
 * A row is open until its end is written. Exactly one writer succeeds in that, and the row of
 * `failed_jobs` is written in the same transaction. Afterwards the row is *claimed* by a listener,
 * which runs what the application has for that end, and then *settled*.
 */
final class TrackedJobs
{
    public const TABLE = 'celery_jobs';

    /** The state of a row whose task may not be posted yet. Celery has no such state. */
    public const POSTING = 'POSTING';

    /** The number of rows of one statement. */
    private const BATCH = 500;

    /** Seconds after which a table that was missing is looked for again. */
    private const LOOK_AGAIN = 10;

    /** The databases of tenants that are remembered. */
    private const DATABASES = 1_000;

    /** @var array<string, int|true> by database: true, or the time until which the table counts as missing */
    private array $found = [];

    public function __construct(private readonly Container $container, private readonly Repository $config)
    {
    }

    /**
     * Returns true if jobs are tracked: `celery.track`, or where that is null, if the table exists.
     */
    public function areOn(): bool
    {
        $track = $this->config->get('celery.track');
        if ($track !== null && $track !== '') {
            return filter_var($track, FILTER_VALIDATE_BOOL);
        }

        return $this->exist();
    }

    /**
     * Returns true if the table exists in the default database of this moment. A database that cannot
     * be asked has none.
     *
     * A process may live for days, and a migration may run meanwhile. So a table that was found is not
     * looked for again, and a missing one is after some seconds.
     */
    public function exist(): bool
    {
        try {
            if (! $this->container->bound('db')) {
                return false;
            }
            $database = $this->db();
            assert($database instanceof Connection);
            $key = "{$database->getName()}\0{$database->getDatabaseName()}";
            $now = Carbon::now()->getTimestamp();
            $found = $this->found[$key] ?? 0;
            if ($found !== true && $found <= $now) {
                $found = $database->getSchemaBuilder()->hasTable(self::TABLE) ?: $now + self::LOOK_AGAIN;
                $this->found = array_slice($this->found, 1 - self::DATABASES, null, true);
                $this->found[$key] = $found;
            }

            return $found === true;
        } catch (Throwable) {
            return false;
        }
    }

    /**
     * Writes the rows of jobs that are about to be posted. Inside a transaction of the application,
     * they come and go with it.
     *
     * @param  list<array<string, mixed>>  $rows
     */
    public function begin(array $rows): void
    {
        foreach (array_chunk($rows, self::BATCH) as $part) {
            $this->table()->insert($part);
        }
    }

    /**
     * Deletes the rows of jobs that certainly were not posted.
     *
     * @param  list<string>  $ids
     */
    public function withdraw(array $ids): void
    {
        foreach (array_chunk($ids, self::BATCH) as $part) {
            $this->table()->whereIn('id', $part)->whereNull('ended_at')->delete();
        }
    }

    /**
     * Notes that the broker has these tasks, or may have them.
     *
     * @param  list<string>  $ids
     */
    public function posted(array $ids): void
    {
        foreach (array_chunk($ids, self::BATCH) as $part) {
            $this->table()->whereIn('id', $part)->where('state', self::POSTING)->update(['state' => 'PENDING']);
        }
    }

    /**
     * Claims rows whose program ended between the row and the post: those that are older than `$before`
     * and not known to be posted.
     *
     * @return list<stdClass>
     */
    public function unposted(string $connection, float $before, float $lease): array
    {
        $now = microtime(true);
        $isFree = static fn (Builder $row) => $row->whereNull('claimed_until')->orWhere('claimed_until', '<', $now);
        $rows = $this->table()->where('celery_connection', $connection)->whereNull('ended_at')
            ->where('state', self::POSTING)->where('created_at', '<', $before)->where($isFree)->limit(self::BATCH)->get();

        return array_values($rows->filter(fn (stdClass $row): bool => $this->table()
            ->where('id', $row->id)->where('state', self::POSTING)->where($isFree)
            ->update(['claimed_until' => $now + $lease]) === 1)->all());
    }

    /**
     * Returns open rows of a connection with ids after `$after`, in their order.
     *
     * @return Collection<int, stdClass>
     */
    public function open(string $connection, string $after = '', int $limit = self::BATCH): Collection
    {
        return $this->table()->where('celery_connection', $connection)->whereNull('ended_at')
            ->where('id', '>', $after)->orderBy('id')->limit($limit)->get();
    }

    /**
     * Returns those of these tasks that are open rows of a connection.
     *
     * @param  list<string>  $ids
     * @return Collection<int, stdClass>
     */
    public function openOf(string $connection, array $ids): Collection
    {
        $rows = new Collection();
        foreach (array_chunk($ids, self::BATCH) as $part) {
            $rows = $rows->concat($this->table()->where('celery_connection', $connection)->whereNull('ended_at')
                ->whereIn('id', $part)->get());
        }

        return $rows;
    }

    /**
     * Notes a retry. Returns true to the first caller for each retry.
     */
    public function retried(string $id, float $at): bool
    {
        return $this->table()->where('id', $id)->whereNull('ended_at')
            ->where(static fn (Builder $row) => $row->whereNull('retried_at')->orWhere('retried_at', '<', $at))
            ->update(['state' => 'RETRY', 'retried_at' => $at]) === 1;
    }

    /**
     * Writes the end of a task and, for a failure, the row of `failed_jobs`: both or neither.
     * Returns true to the one caller that wrote it, whose claim lasts `$lease` seconds.
     */
    public function end(stdClass $row, Outcome $outcome, float $lease): bool
    {
        return $this->db()->transaction(function () use ($row, $outcome, $lease): bool {
            $now = microtime(true);
            $written = $this->table()->where('id', $row->id)->whereNull('ended_at')->update([
                'state' => $outcome->state,
                'ended_at' => $now,
                'claimed_until' => $now + $lease,
                'outcome' => $outcome->toJson(),
            ]);
            if ($written === 1 && $outcome->isFailure()) {
                $this->logFailure($row, $outcome);
            }

            return $written === 1;
        }, 3);
    }

    /**
     * Claims the rows whose listener ended before it had settled them.
     *
     * @return list<stdClass>
     */
    public function abandoned(string $connection, float $lease): array
    {
        $now = microtime(true);
        $rows = $this->table()->where('celery_connection', $connection)->whereNull('settled_at')
            ->whereNotNull('ended_at')->where('claimed_until', '<', $now)->limit(self::BATCH)->get();

        return array_values($rows->filter(fn (stdClass $row): bool => $this->table()
            ->where('id', $row->id)->whereNull('settled_at')->where('claimed_until', '<', $now)
            ->update(['claimed_until' => $now + $lease]) === 1)->all());
    }

    public function settled(string $id): void
    {
        $this->table()->where('id', $id)->update(['settled_at' => microtime(true)]);
    }

    /** Deletes settled rows of a connection that ended before this Unix time; returns their number. */
    public function prune(string $connection, float $before): int
    {
        return $this->table()->where('celery_connection', $connection)->where('ended_at', '<', $before)
            ->whereNotNull('settled_at')->delete();
    }

    /**
     * Returns jobs of a connection, the newest first.
     *
     * @param  list<string>  $states  none: all states
     * @return Collection<int, stdClass>
     */
    public function newest(string $connection, array $states, int $limit, int $skip = 0): Collection
    {
        return $this->table()->where('celery_connection', $connection)
            ->when($states !== [], static fn (Builder $rows) => $rows->whereIn('state', $states))
            ->orderByDesc('created_at')->orderBy('id')->offset($skip)->limit($limit)->get();
    }

    public function find(string $connection, string $id): ?stdClass
    {
        $row = $this->table()->where('celery_connection', $connection)->where('id', $id)->first();

        return $row instanceof stdClass ? $row : null;
    }

    private function logFailure(stdClass $row, Outcome $outcome): void
    {
        $failed = $this->container->make('queue.failer');
        // The table may be in another database, where the row can outlive a transaction that failed here.
        if ($failed instanceof DatabaseUuidFailedJobProvider && $failed->find($row->id) !== null) {
            return;
        }
        $failed->log($row->queue_connection, $row->queue, $row->payload, $outcome->exception($row->id));
    }

    private function table(): Builder
    {
        return $this->db()->table(self::TABLE);
    }

    private function db(): ConnectionInterface
    {
        return $this->container->make('db')->connection();
    }
}
