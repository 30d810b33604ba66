<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Canvas\Chain;
use CeleryBridge\Canvas\Chord;
use CeleryBridge\Canvas\Group;
use CeleryBridge\Canvas\Members;
use CeleryBridge\Context\LaravelHeader;
use CeleryBridge\Context\TraceHeaders;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Results;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Events\TaskPosted;
use CeleryBridge\Events\TaskPostFailed;
use CeleryBridge\Events\TaskPosting;
use CeleryBridge\Outcomes\TrackedTasks;
use CeleryBridge\Results\DeferredResult;
use CeleryBridge\Results\ManyResults;
use CeleryBridge\Transactions\AfterCommit;
use Closure;
use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Events\Dispatcher;
use InvalidArgumentException;
use Throwable;
use UnitEnum;

/**
 * The client of one connection: adds transactions and events to a transport.
 */
final class CeleryClient implements Client
{
    /**
     * @param  string  $queue  the queue of a task without a queue of its own
     * @param  bool  $waits  true if a task waits for the commit by default
     * @param  TrackedTasks|null  $tracked  null: no task is tracked, as in the fake
     */
    public function __construct(
        private readonly Container $container,
        private readonly Transport $transport,
        private readonly string $name,
        private readonly string $queue,
        private readonly bool $waits,
        private readonly AfterCommit $afterCommit,
        private readonly ?TrackedTasks $tracked = null,
    ) {
    }

    public function name(): string
    {
        return $this->name;
    }

    public function post(
        string $task,
        array $args = [],
        string|UnitEnum|null $queue = null,
        array $options = [],
    ): Result {
        return $this->send($this->withContext(TaskMessage::make($task, $args, $queue, $options)));
    }

    public function postMany(iterable $tasks): array
    {
        $posted = [];
        $now = [];
        $later = [];

        foreach ($tasks as $key => $task) {
            $task = $this->complete(match (true) {
                $task instanceof TaskMessage => $task,
                $task instanceof PendingTask => $this->withContext($task->toMessage()),
                default => throw new InvalidArgumentException(
                    'postMany() takes tasks made by task(), not '.get_debug_type($task),
                ),
            });
            $posted[$key] = $task;
            if ($this->waits($task)) {
                $later[] = $task;
            } else {
                $now[] = $task;
            }
        }

        $this->transport->ensureUsable();
        [$now, $later] = [$this->tracked($now), $this->tracked($later)];
        $this->deliverMany($now);
        if ($later !== []) {
            $this->postLater($later, self::onRequest($later), fn () => $this->deliverMany($later));
        }

        return array_map(fn (TaskMessage $task): Result => $this->resultOf($task->id, $task->name), $posted);
    }

    public function task(string $name, array $args = []): PendingTask
    {
        return new PendingTask($this, $name, $args);
    }

    public function chain(iterable $steps): PendingCanvas
    {
        $members = new Members($this->container);

        return new PendingCanvas($this, $members, new Chain($members->all($steps)));
    }

    public function group(iterable $members): PendingCanvas
    {
        $read = new Members($this->container);

        return new PendingCanvas($this, $read, new Group($read->all($members)));
    }

    public function chord(iterable $header, object $body): PendingCanvas
    {
        $members = new Members($this->container);
        $chord = new Chord(new Group($members->all($header)), $members->one($body));

        return new PendingCanvas($this, $members, $chord);
    }

    public function postCanvas(Canvas $canvas, ?bool $afterCommit = null): Result|Results
    {
        // Throws now, while the transaction can still roll back, not after the commit.
        $this->transport->ensureUsable();

        $canvas = $canvas->map(fn (TaskMessage $task): TaskMessage => $this->complete($this->withContext($task)));
        $tasks = $canvas->tasks();
        if ($tasks !== []) {
            $tracked = $this->tracked?->beginCanvas($this->name, $canvas) ?? [];
            $post = fn () => $this->withRows($tracked, fn () => $this->deliverCanvas($canvas));
            if ($afterCommit ?? array_filter($tasks, $this->waits(...)) !== []) {
                $this->postLater($tasks, $tracked, $post);
            } else {
                $post();
            }
        }

        $last = $canvas->last();

        return $last instanceof TaskMessage ? $this->resultOf($last->id, $last->name) : new ManyResults(
            $this->transport,
            array_map(fn (TaskMessage $task): Result => $this->resultOf($task->id, $task->name), $last->outcomes()),
            $last->id,
        );
    }

    public function results(iterable $tasks): Results
    {
        $results = [];
        foreach ($tasks as $key => $task) {
            $results[$key] = $task instanceof Result ? $task : $this->resultOf($task);
        }

        return new ManyResults($this->transport, $results);
    }

    public function result(string $id): Result
    {
        return $this->resultOf($id);
    }

    public function forget(string $id): void
    {
        $this->transport->forget($id);
    }

    public function revoke(string $id): void
    {
        $this->transport->revoke($id);
    }

    private function send(TaskMessage $task): Result
    {
        // Throws now, while the transaction can still roll back, not after the commit.
        $this->transport->ensureUsable();

        [$task] = $this->tracked([$this->complete($task)]);

        if ($this->waits($task)) {
            $this->postLater([$task], self::onRequest([$task]), fn () => $this->deliver($task));
        } else {
            $this->deliver($task);
        }

        return $this->resultOf($task->id, $task->name);
    }

    /**
     * Writes the rows of tasks that are tracked on request.
     *
     * @param  list<TaskMessage>  $tasks
     * @return list<TaskMessage> the tasks as they are to be posted
     */
    private function tracked(array $tasks): array
    {
        return $this->tracked === null ? $tasks : $this->tracked->begin($this->name, $tasks);
    }

    /**
     * Posts after the commit.
     *
     * @param  list<TaskMessage>  $tasks
     * @param  list<TaskMessage>  $tracked  those that have rows, which go with a rollback
     * @param  Closure(): mixed  $post
     */
    private function postLater(array $tasks, array $tracked, Closure $post): void
    {
        $this->afterCommit->run(
            array_map(static fn (TaskMessage $task): string => $task->id, $tasks),
            $post,
            rolledBack: fn () => $this->tracked?->withdraw($tracked),
        );
    }

    /**
     * Posts, and notes in the rows of the tracked tasks how it went.
     *
     * @param  list<TaskMessage>  $tracked
     * @param  Closure(): mixed  $post
     */
    private function withRows(array $tracked, Closure $post): void
    {
        if ($this->tracked === null || $tracked === []) {
            $post();
        } else {
            $this->tracked->post($tracked, $post);
        }
    }

    /**
     * Returns the tasks that are tracked on request. The queue "celery" writes the rows of jobs.
     *
     * @param  list<TaskMessage>  $tasks
     * @return list<TaskMessage>
     */
    private static function onRequest(array $tasks): array
    {
        return array_values(array_filter($tasks, static fn (TaskMessage $task): bool => $task->tracked));
    }

    private function resultOf(string $id, ?string $task = null): Result
    {
        $result = $this->transport->result($id, $task);
        $post = $this->afterCommit->find($id);

        return $post === null ? $result : new DeferredResult($result, $post);
    }

    private function withContext(TaskMessage $task): TaskMessage
    {
        return TraceHeaders::add(LaravelHeader::addContext($this->container, $task));
    }

    private function complete(TaskMessage $task): TaskMessage
    {
        return $task->queue === null ? $task->withQueue($this->queue) : $task;
    }

    private function waits(TaskMessage $task): bool
    {
        return $task->afterCommit ?? $this->waits;
    }

    /**
     * @param  list<TaskMessage>  $tasks
     */
    private function deliverMany(array $tasks): void
    {
        if (count($tasks) === 1) {
            // The exception of a single post has more details.
            $this->deliver($tasks[0]);

            return;
        }

        $queues = [];
        foreach ($tasks as $task) {
            $this->raise(new TaskPosting($task));
            $queues[(string) $task->queue][] = $task;
        }

        while ($queues !== []) {
            $queue = (string) array_key_first($queues);

            try {
                $this->withRows(self::onRequest($queues[$queue]), fn () => $this->transport->postMany($queue, $queues[$queue]));
            } catch (Throwable $e) {
                // Some exceptions name the tasks that were not confirmed; the others of this queue were posted.
                $unconfirmed = method_exists($e, 'taskIds') ? $e->taskIds() : [];
                foreach ($queues[$queue] as $task) {
                    $posted = $unconfirmed !== [] && ! in_array($task->id, $unconfirmed, true);
                    $this->raise($posted ? new TaskPosted($task) : new TaskPostFailed($task, $e));
                }
                unset($queues[$queue]);
                $untried = array_merge(...array_values($queues));
                $this->tracked?->withdraw(self::onRequest($untried));
                foreach ($untried as $task) {
                    $this->raise(new TaskPostFailed($task, $e));
                }

                throw $e;
            }

            foreach ($queues[$queue] as $task) {
                $this->raise(new TaskPosted($task));
            }
            unset($queues[$queue]);
        }
    }

    private function deliver(TaskMessage $task): void
    {
        $this->raise(new TaskPosting($task));

        try {
            $this->withRows(self::onRequest([$task]), fn () => $this->transport->post($task));
        } catch (Throwable $e) {
            $this->raise(new TaskPostFailed($task, $e));

            throw $e;
        }

        $this->raise(new TaskPosted($task));
    }

    private function deliverCanvas(Canvas $canvas): void
    {
        $tasks = $canvas->tasks();
        foreach ($tasks as $task) {
            $this->raise(new TaskPosting($task));
        }

        try {
            $this->transport->postCanvas($canvas);
        } catch (Throwable $e) {
            foreach ($tasks as $task) {
                $this->raise(new TaskPostFailed($task, $e));
            }

            throw $e;
        }

        foreach ($tasks as $task) {
            $this->raise(new TaskPosted($task));
        }
    }

    private function raise(object $event): void
    {
        if ($this->container->bound('events')) {
            $events = $this->container->make('events');
            assert($events instanceof Dispatcher);
            $events->dispatch($event);
        }
    }
}
