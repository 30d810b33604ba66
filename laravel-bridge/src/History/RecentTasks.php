<?php

declare(strict_types=1);

namespace CeleryBridge\History;

use Illuminate\Contracts\Container\Container;
use Illuminate\Database\ConnectionInterface;
use Illuminate\Database\Query\Builder;

/**
 * The table `celery_recent_tasks`: the newest tasks that ended, those of programs without Laravel,
 * too. It keeps a fixed number of failures and of other tasks, so that failures stay longer.
 */
final class RecentTasks
{
    public const TABLE = 'celery_recent_tasks';

    public function __construct(private readonly Container $container, private readonly int $kept = 1_000)
    {
    }

    /**
     * Writes tasks, each in place of its row from before, and deletes the oldest rows. Runs inside
     * the writer's transaction.
     *
     * @param  list<RecentTask>  $tasks
     */
    public function note(string $connection, array $tasks): void
    {
        foreach ($tasks as $task) {
            $values = get_object_vars($task);
            $this->table()->updateOrInsert(['celery_connection' => $connection, 'id' => $task->id], $values);
        }
        if ($tasks !== []) {
            $this->prune($connection, '=');
            $this->prune($connection, '!=');
        }
    }

    private function prune(string $connection, string $comparison): void
    {
        $rows = fn (): Builder => $this->table()->where('celery_connection', $connection)->where('state', $comparison, 'FAILURE');
        $oldest = $rows()->orderByDesc('at')->offset($this->kept)->limit(1)->value('at');
        if ($oldest !== null) {
            $rows()->where('at', '<=', $oldest)->delete();
        }
    }

    /**
     * Returns tasks of a connection, the newest first.
     *
     * @return list<RecentTask>
     */
    public function newest(string $connection, bool $onlyFailed, int $limit, int $skip = 0): array
    {
        $rows = $this->table()->where('celery_connection', $connection)
            ->when($onlyFailed, static fn (Builder $rows) => $rows->where('state', 'FAILURE'))
            ->orderByDesc('at')->orderBy('id')->offset($skip)->limit($limit)->get();

        return array_values($rows->map(RecentTask::ofRow(...))->all());
    }

    public function find(string $connection, string $id): ?RecentTask
    {
        $row = $this->table()->where('celery_connection', $connection)->where('id', $id)->first();

        return $row === null ? null : RecentTask::ofRow($row);
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
