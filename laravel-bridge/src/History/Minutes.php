<?php

declare(strict_types=1);

namespace CeleryBridge\History;

use Illuminate\Contracts\Container\Container;
use Illuminate\Database\ConnectionInterface;
use Illuminate\Database\Query\Builder;
use Throwable;

/**
 * The tables `celery_minutes` and `celery_recorders`, and the one way to write the history.
 *
 * Every listener hears every event, so one of them alone may write: the owner of the connection's
 * row in `celery_recorders`. Each of its writes is one transaction that changes this row first. So
 * a listener that has lost the row writes nothing, and a write whose answer was lost is not done
 * twice.
 */
final class Minutes
{
    public const TABLE = 'celery_minutes';

    public const RECORDERS = 'celery_recorders';

    /** The rows that one statement deletes. */
    private const BATCH = 1_000;

    public function __construct(private readonly Container $container, private readonly RecentTasks $recent)
    {
    }

    /** Returns true if the tables exist. A database that cannot be asked has none. */
    public function exist(): bool
    {
        try {
            return $this->container->bound('db') && $this->db()->getSchemaBuilder()->hasTable(self::RECORDERS);
        } catch (Throwable) {
            return false;
        }
    }

    /**
     * Makes `$owner` the writer of a connection for `$lease` seconds. Returns false while another
     * one is.
     */
    public function claim(string $connection, string $owner, float $lease): bool
    {
        $now = microtime(true);
        $this->recorder($connection)->insertOrIgnore(
            ['celery_connection' => $connection, 'owner' => '', 'claimed_until' => 0.0, 'written' => 0],
        );
        if ($this->recorder($connection)->where('owner', $owner)->update(['claimed_until' => $now + $lease]) === 1) {
            return true;
        }

        return $this->recorder($connection)->where('claimed_until', '<', $now)
            ->update(['owner' => $owner, 'claimed_until' => $now + $lease, 'written' => 0]) === 1;
    }

    public function release(string $connection, string $owner): void
    {
        $this->recorder($connection)->where('owner', $owner)->update(['owner' => '', 'claimed_until' => 0.0]);
    }

    /**
     * Adds rows to those of the table, and notes tasks in `celery_recent_tasks`. Returns false, and
     * writes nothing, if `$owner` is not the writer any more.
     *
     * @param  int  $number  of this write, one more than the owner's last one
     * @param  list<Row>  $rows
     * @param  list<RecentTask>  $tasks
     */
    public function write(string $connection, string $owner, int $number, array $rows, array $tasks = []): bool
    {
        return $this->db()->transaction(function () use ($connection, $owner, $number, $rows, $tasks): bool {
            $isNew = $this->recorder($connection)->where('owner', $owner)->where('written', $number - 1)
                ->update(['written' => $number]) === 1;
            if (! $isNew) {
                return $this->recorder($connection)->where('owner', $owner)->where('written', $number)->exists();
            }
            foreach ($rows as $row) {
                $key = ['celery_connection' => $connection, 'minute' => $row->minute, 'kind' => $row->kind, 'name' => $row->name];
                $found = $this->table()->where($key)->first();
                if ($found === null) {
                    $this->table()->insert($key + $row->columns());
                } else {
                    $sum = Row::of($found);
                    $sum->add($row);
                    $this->table()->where($key)->update($sum->columns());
                }
            }

            $this->recent->note($connection, $tasks);

            return true;
        }, 3);
    }

    /**
     * Deletes rows of a connection from before a minute, at most a batch of each call.
     */
    public function prune(string $connection, int $before): void
    {
        $oldest = $this->table()->where('celery_connection', $connection)->min('minute');
        if ($oldest === null || $oldest >= $before) {
            return;
        }
        // Whole minutes until a batch is full: not every database can limit a deletion.
        $deleted = 0;
        for ($minute = (int) $oldest; $minute !== null && $minute < $before && $deleted < self::BATCH;) {
            $deleted += $this->table()->where('celery_connection', $connection)->where('minute', $minute)->delete();
            $next = $this->table()->where('celery_connection', $connection)->where('minute', '>', $minute)->min('minute');
            $minute = $next === null ? null : (int) $next;
        }
    }

    /**
     * Returns the rows of a connection from the minute `$from` up to, but without, `$until`.
     *
     * @return iterable<Row>
     */
    public function between(string $connection, int $from, int $until): iterable
    {
        // A few hours at a time, so that a week of many tasks does not fill the memory.
        for ($begin = $from; $begin < $until; $begin += 240) {
            $rows = $this->table()->where('celery_connection', $connection)
                ->where('minute', '>=', $begin)->where('minute', '<', min($until, $begin + 240))->get();
            foreach ($rows as $row) {
                yield Row::of($row);
            }
        }
    }

    private function recorder(string $connection): Builder
    {
        return $this->db()->table(self::RECORDERS)->where('celery_connection', $connection);
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
