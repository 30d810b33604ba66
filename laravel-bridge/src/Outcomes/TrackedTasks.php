<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Queue\CeleryQueue;
use CeleryBridge\TaskMessage;
use Closure;
use Illuminate\Contracts\Container\Container;

/**
 * Writes the rows of tasks that a client posts: of the jobs of a canvas, and of tasks that are tracked
 * on request. Their results stay, because the application reads them.
 */
final class TrackedTasks
{
    public function __construct(private readonly Container $container)
    {
    }

    /**
     * Writes the rows of those of these tasks that are tracked, and returns all of them as they are to
     * be posted.
     *
     * @param  list<TaskMessage>  $tasks
     * @return list<TaskMessage>
     */
    public function begin(string $connection, array $tasks): array
    {
        $rows = [];
        foreach ($tasks as $place => $task) {
            if ($task->tracked && $this->isOn($connection)) {
                $tasks[$place] = $task->once();
                $rows[] = CeleryQueue::of($this->container)->rowOf($tasks[$place], $connection, [StoredMessage::KEEPS_RESULT => true]);
            }
        }
        $this->outbox()->write($rows);

        return $tasks;
    }

    /**
     * Writes the rows of the tasks of a canvas that are tracked, and returns these tasks. No listener
     * posts a part of a canvas.
     *
     * @return list<TaskMessage>
     */
    public function beginCanvas(string $connection, Canvas $canvas): array
    {
        $tracked = array_values(array_filter($canvas->tasks(), fn (TaskMessage $task): bool => $task->tracked
            ? $this->isOn($connection)
            : $task->job !== null && $this->outbox()->isOn()));
        if ($tracked === []) {
            return [];
        }
        $before = $canvas->predecessors();
        $after = [];
        foreach ($before as $id => [$ids]) {
            // Of a group, a worker ends the task that waits for it.
            if (count($ids) === 1) {
                $after[$ids[0]][] = (string) $id;
            }
        }
        $queue = CeleryQueue::of($this->container);
        $rests = StoredCanvas::rests($canvas, CeleryQueue::serialized(...));
        $this->outbox()->write(array_map(static fn (TaskMessage $task): array => ['state' => 'PENDING'] + $queue->rowOf($task, $connection, [
            StoredMessage::KEEPS_RESULT => true,
            StoredMessage::BEFORE => array_slice($before[$task->id][0] ?? [], 0, StoredMessage::MOST_BEFORE + 1),
            StoredMessage::AFTER => $after[$task->id] ?? [],
            StoredMessage::TAKES => match (true) {
                $task->immutable || ! isset($before[$task->id]) => null,
                $before[$task->id][1] => StoredMessage::LIST,
                default => StoredMessage::ONE,
            },
        ] + (isset($rests[$task->id]) ? [StoredMessage::REST => $rests[$task->id]] : [])), $tracked));

        return $tracked;
    }

    /**
     * Posts tasks of which some have rows. If that fails, the rows of those that certainly were not
     * posted are deleted.
     *
     * @param  list<TaskMessage>  $tracked
     * @param  Closure(): mixed  $post
     */
    public function post(array $tracked, Closure $post): void
    {
        $this->outbox()->post($tracked, $post);
    }

    /**
     * Deletes the rows of tasks whose transaction was rolled back.
     *
     * @param  list<TaskMessage>  $tracked
     */
    public function withdraw(array $tracked): void
    {
        $this->outbox()->withdraw($tracked);
    }

    /**
     * @throws InvalidConfiguration jobs are not tracked here
     */
    private function isOn(string $connection): bool
    {
        return $this->outbox()->isOn() ? true : throw InvalidConfiguration::in($connection, 'tracked() needs the table '
            .TrackedJobs::TABLE.', which `php artisan migrate` creates, and a value of "track" that is not false');
    }

    private function outbox(): Outbox
    {
        return $this->container->make(Outbox::class);
    }
}
