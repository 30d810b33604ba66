<?php

declare(strict_types=1);

namespace CeleryBridge\Canvas;

use CeleryBridge\TaskMessage;
use Closure;

/**
 * Work that consists of several tasks, before its post. A plain value: it needs no extension.
 *
 * Each task has its id already, so the results are known before anything is sent.
 */
abstract class Canvas
{
    /** @var list<TaskMessage> */
    private array $errbacks = [];

    /**
     * Returns all tasks, in their order, without the error callbacks.
     *
     * @return list<TaskMessage>
     */
    abstract public function tasks(): array;

    /** Returns the task whose result is the result of all, or the group whose results are. */
    abstract public function last(): TaskMessage|Group;

    /**
     * Returns a copy in which each task was changed, also the error callbacks.
     *
     * @param  Closure(TaskMessage): TaskMessage  $change
     */
    abstract public function map(Closure $change): static;

    /**
     * Returns a copy in which each task was changed that begins at once.
     *
     * @param  Closure(TaskMessage): TaskMessage  $change
     */
    abstract public function mapFirst(Closure $change): static;

    /** Returns a copy that also calls these tasks if one of its tasks fails. */
    final public function withErrbacks(TaskMessage ...$errbacks): static
    {
        $copy = clone $this;
        $copy->errbacks = [...$this->errbacks, ...array_values($errbacks)];

        return $copy;
    }

    /**
     * @return list<TaskMessage>
     */
    final public function errbacks(): array
    {
        return $this->errbacks;
    }

    /**
     * Returns the tasks that must succeed before a task begins, by its id. Those that begin at once are
     * not in it. `true` says that the task gets the list of their results, and not the result of one.
     *
     * @return array<string, array{non-empty-list<string>, bool}>
     */
    final public function predecessors(): array
    {
        $predecessors = [];
        self::walk($this, [], $predecessors);

        return $predecessors;
    }

    /**
     * @param  list<string>  $before  the tasks that end before this part begins
     * @param  array<string, array{non-empty-list<string>, bool}>  $predecessors
     * @param  bool  $isBody  true for the body of a chord, which gets a list also of one result
     * @return list<string> the tasks that end it
     */
    private static function walk(TaskMessage|self $part, array $before, array &$predecessors, bool $isBody = false): array
    {
        if ($part instanceof TaskMessage) {
            if ($before !== []) {
                $predecessors[$part->id] = [$before, $isBody || count($before) > 1];
            }

            return [$part->id];
        }
        if ($part instanceof Group) {
            $ends = [];
            foreach ($part->members as $member) {
                array_push($ends, ...self::walk($member, $before, $predecessors, $isBody));
            }

            return $ends;
        }
        if ($part instanceof Chord) {
            $before = self::walk($part->header, $before, $predecessors, $isBody);

            return self::walk($part->body, $before, $predecessors, true);
        }
        foreach ($part instanceof Chain ? $part->steps : [] as $place => $step) {
            $before = self::walk($step, $before, $predecessors, $isBody && $place === 0) ?: $before;
        }

        return $before;
    }

    /**
     * @param  Closure(TaskMessage): TaskMessage  $change
     */
    final protected static function changed(TaskMessage|self $member, Closure $change): TaskMessage|self
    {
        return $member instanceof TaskMessage ? $change($member) : $member->map($change);
    }

    /**
     * @param  Closure(TaskMessage): TaskMessage  $change
     */
    final protected static function firstChanged(TaskMessage|self $member, Closure $change): TaskMessage|self
    {
        return $member instanceof TaskMessage ? $change($member) : $member->mapFirst($change);
    }

    /**
     * @param  iterable<TaskMessage|self>  $members
     * @return list<TaskMessage>
     */
    final protected static function tasksOf(iterable $members): array
    {
        $tasks = [];
        foreach ($members as $member) {
            array_push($tasks, ...($member instanceof TaskMessage ? [$member] : $member->tasks()));
        }

        return $tasks;
    }
}
