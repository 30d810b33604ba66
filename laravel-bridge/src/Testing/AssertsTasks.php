<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Contracts\Result;
use CeleryBridge\TaskMessage;
use Closure;
use Illuminate\Support\Collection;
use PHPUnit\Framework\Assert;
use UnitEnum;

/**
 * The assertions of the fake, with the names of `Queue::fake()`. A `$task` is the name of a task,
 * the class of a job, or a test; {@see TaskFilter} says what a test gets.
 */
trait AssertsTasks
{
    abstract protected function recorder(): Recorder;

    /**
     * Returns the tasks posted so far, in their order.
     *
     * @return Collection<int, PostedTask>
     */
    public function posted(string|Closure|null $task = null, ?Closure $callback = null): Collection
    {
        return Collection::make($this->recorder()->posted())
            ->filter((new TaskFilter($task, $callback))->matches(...))
            ->values();
    }

    /**
     * @param  Closure|int|null  $callback  a further test, or the exact number of posts
     */
    public function assertPosted(string|Closure $task, Closure|int|null $callback = null): void
    {
        if (is_int($callback)) {
            $this->assertPostedTimes($task, $callback);

            return;
        }

        Assert::assertTrue(
            $this->posted($task, $callback)->isNotEmpty(),
            "The task {$this->describe($task)} was not posted.".$this->describeAll(),
        );
    }

    public function assertPostedTimes(string|Closure $task, int $times = 1): void
    {
        $found = $this->posted($task)->count();
        Assert::assertSame($times, $found, sprintf(
            'The task %s was posted %d times instead of %d.%s',
            $this->describe($task),
            $found,
            $times,
            $this->describeAll(),
        ));
    }

    public function assertPostedOn(string|UnitEnum $queue, string|Closure $task, ?Closure $callback = null): void
    {
        $name = (string) TaskMessage::queueName($queue);

        Assert::assertTrue(
            $this->posted($task, $callback)->contains(static fn (PostedTask $posted): bool => $posted->queue === $name),
            "The task {$this->describe($task)} was not posted on the queue [{$name}].".$this->describeAll(),
        );
    }

    public function assertNotPosted(string|Closure $task, ?Closure $callback = null): void
    {
        Assert::assertTrue(
            $this->posted($task, $callback)->isEmpty(),
            "The task {$this->describe($task)} was posted, and should not have been.".$this->describeAll(),
        );
    }

    public function assertNothingPosted(): void
    {
        Assert::assertSame(
            [],
            $this->recorder()->posted(),
            'Tasks were posted, and should not have been.'.$this->describeAll(),
        );
    }

    public function assertCount(int $count): void
    {
        Assert::assertCount($count, $this->recorder()->posted(), "{$count} tasks should have been posted.".$this->describeAll());
    }

    /**
     * @param  string|Closure|Result|PostedTask  $task  also a task's id
     */
    public function assertRevoked(string|Closure|Result|PostedTask $task): void
    {
        Assert::assertTrue(
            $this->hasRevoked($task),
            "The task {$this->describe($task)} was not revoked.".$this->describeRevoked(),
        );
    }

    /**
     * @param  string|Closure|Result|PostedTask  $task  also a task's id
     */
    public function assertNotRevoked(string|Closure|Result|PostedTask $task): void
    {
        Assert::assertFalse(
            $this->hasRevoked($task),
            "The task {$this->describe($task)} was revoked, and should not have been.".$this->describeRevoked(),
        );
    }

    public function assertNothingRevoked(): void
    {
        Assert::assertSame(
            [],
            $this->recorder()->revoked(),
            'Tasks were revoked, and should not have been.'.$this->describeRevoked(),
        );
    }

    private function hasRevoked(string|Closure|Result|PostedTask $task): bool
    {
        $revoked = $this->recorder()->revoked();
        if ($task instanceof Result || $task instanceof PostedTask) {
            return in_array(self::idOf($task), $revoked, true);
        }

        return (is_string($task) && in_array($task, $revoked, true)) || $this->posted($task)->contains(
            static fn (PostedTask $posted): bool => in_array($posted->id, $revoked, true),
        );
    }

    private static function idOf(string|Result|PostedTask $task): string
    {
        return match (true) {
            $task instanceof Result => $task->id(),
            $task instanceof PostedTask => $task->id,
            default => $task,
        };
    }

    private function describe(string|Closure|Result|PostedTask $task): string
    {
        return $task instanceof Closure || is_string($task)
            ? (new TaskFilter($task))->describe()
            : '['.self::idOf($task).']';
    }

    private function describeAll(): string
    {
        $list = array_map(
            static fn (PostedTask $task): string => "{$task->name} on {$task->queue}",
            $this->recorder()->posted(),
        );

        return ' Posted: '.(implode(', ', $list) ?: 'nothing').'.';
    }

    private function describeRevoked(): string
    {
        return ' Revoked: '.(implode(', ', $this->recorder()->revoked()) ?: 'nothing').'.';
    }
}
