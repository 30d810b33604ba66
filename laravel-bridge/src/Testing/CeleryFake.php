<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\CeleryManager;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\TaskMessage;
use CeleryBridge\Transactions\AfterCommit;
use Closure;
use Illuminate\Contracts\Container\Container;
use Illuminate\Support\Collection;
use PHPUnit\Framework\Assert;
use RuntimeException;
use Throwable;
use UnitEnum;

/**
 * Replaces the manager in tests: records posts, and needs neither extension nor broker.
 *
 * As with `Queue::fake()`, a post inside a transaction is recorded at once. Tests that run in their
 * own transaction therefore work. `respectTransactions()` records it at the commit.
 */
final class CeleryFake extends CeleryManager
{
    /** @var list<PostedTask> */
    private array $posted = [];

    /** @var array<string, mixed> the outcomes of posted tasks, by id */
    private array $outcomes = [];

    /** @var array<string, true> */
    private array $revoked = [];

    private ?Throwable $postFailure = null;

    private AfterCommit $waiting;

    /**
     * @param  array<string, mixed>  $results  by task name
     */
    public function __construct(Container $container, private array $results = [])
    {
        parent::__construct($container);
        $this->waiting = new AfterCommit($container, false);
    }

    /**
     * Sets the result of a task: a value, a closure that gets the PostedTask, or an exception for a
     * failed task.
     */
    public function returning(string $task, mixed $result): self
    {
        $this->results[$task] = $result;

        return $this;
    }

    /**
     * Makes every post fail from now on, as with an unreachable broker. Null: posts work again.
     */
    public function failPosting(?Throwable $exception = new RuntimeException('the broker cannot be reached')): self
    {
        $this->postFailure = $exception;

        return $this;
    }

    /**
     * Records a post inside a transaction at its commit, and not at all if it rolls back.
     */
    public function respectTransactions(): self
    {
        $this->waiting = new AfterCommit($this->container);
        $this->forgetConnections();

        return $this;
    }

    public function afterCommit(): AfterCommit
    {
        return $this->waiting;
    }

    /**
     * Returns the tasks posted so far, in their order.
     *
     * @param  string|(Closure(PostedTask): bool)|null  $task  a name, or a test
     * @param  (Closure(PostedTask): bool)|null  $callback
     * @return Collection<int, PostedTask>
     */
    public function posted(string|Closure|null $task = null, ?Closure $callback = null): Collection
    {
        return Collection::make($this->posted)
            ->filter(static fn (PostedTask $posted): bool => match (true) {
                $task === null => true,
                $task instanceof Closure => (bool) $task($posted),
                default => $posted->name === $task,
            })
            ->filter(static fn (PostedTask $posted): bool => $callback === null || (bool) $callback($posted))
            ->values();
    }

    /**
     * @param  string|(Closure(PostedTask): bool)  $task  a name, or a test
     * @param  (Closure(PostedTask): bool)|int|null  $callback  a further test, or the exact number
     * of posts
     */
    public function assertPosted(string|Closure $task, Closure|int|null $callback = null): void
    {
        if (is_int($callback)) {
            $found = $this->posted($task)->count();
            Assert::assertSame($callback, $found, sprintf(
                'The task %s was posted %d times instead of %d.%s',
                $this->describe($task),
                $found,
                $callback,
                $this->describeAll(),
            ));

            return;
        }

        Assert::assertTrue(
            $this->posted($task, $callback)->isNotEmpty(),
            "The task {$this->describe($task)} was not posted.".$this->describeAll(),
        );
    }

    /**
     * @param  string|(Closure(PostedTask): bool)  $task
     * @param  (Closure(PostedTask): bool)|null  $callback
     */
    public function assertPostedOn(string|UnitEnum $queue, string|Closure $task, ?Closure $callback = null): void
    {
        $name = (string) TaskMessage::queueName($queue);
        $found = $this->posted($task, $callback)->contains(
            static fn (PostedTask $posted): bool => $posted->queue === $name,
        );

        Assert::assertTrue(
            $found,
            "The task {$this->describe($task)} was not posted on the queue [{$name}].".$this->describeAll(),
        );
    }

    /**
     * @param  string|(Closure(PostedTask): bool)  $task
     * @param  (Closure(PostedTask): bool)|null  $callback
     */
    public function assertNotPosted(string|Closure $task, ?Closure $callback = null): void
    {
        Assert::assertTrue(
            $this->posted($task, $callback)->isEmpty(),
            "The task {$this->describe($task)} was posted, and should not have been.".$this->describeAll(),
        );
    }

    public function assertNothingPosted(): void
    {
        Assert::assertSame([], $this->posted, 'Tasks were posted, and should not have been.'.$this->describeAll());
    }

    public function assertCount(int $count): void
    {
        Assert::assertCount($count, $this->posted, "{$count} tasks should have been posted.".$this->describeAll());
    }

    /**
     * @internal called by the fake's transport
     */
    public function record(PostedTask $task): void
    {
        if ($this->postFailure !== null) {
            throw $this->postFailure;
        }

        $this->posted[] = $task;

        if (array_key_exists($task->name, $this->results)) {
            $result = $this->results[$task->name];

            try {
                $this->outcomes[$task->id] = $result instanceof Closure ? $result($task) : $result;
            } catch (Throwable $e) {
                $this->outcomes[$task->id] = $e;
            }
        }
    }

    /** @internal */
    public function hasOutcome(string $id): bool
    {
        return array_key_exists($id, $this->outcomes);
    }

    /** @internal */
    public function outcome(string $id): mixed
    {
        return $this->outcomes[$id] ?? null;
    }

    /** @internal */
    public function forgetOutcome(string $id): void
    {
        unset($this->outcomes[$id]);
    }

    /** @internal */
    public function markRevoked(string $id): void
    {
        if (! $this->hasOutcome($id)) {
            $this->revoked[$id] = true;
        }
    }

    /** Returns true if a task was revoked before it had an outcome. */
    public function isRevoked(string $id): bool
    {
        return isset($this->revoked[$id]);
    }

    protected function transport(ConnectionSettings $settings): Transport
    {
        return new FakeTransport($this, $settings->name);
    }

    private function describe(string|Closure $task): string
    {
        return $task instanceof Closure ? 'asked for' : "[{$task}]";
    }

    private function describeAll(): string
    {
        $list = array_map(
            static fn (PostedTask $task): string => "{$task->name} on {$task->queue}",
            $this->posted,
        );

        return ' Posted: '.($list === [] ? 'nothing' : implode(', ', $list)).'.';
    }
}
