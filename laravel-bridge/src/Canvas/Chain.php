<?php

declare(strict_types=1);

namespace CeleryBridge\Canvas;

use CeleryBridge\TaskMessage;
use Closure;
use InvalidArgumentException;

/**
 * Tasks one after another. Each gets the result of the one before as its first argument, unless it
 * is immutable.
 */
final class Chain extends Canvas
{
    /** @var non-empty-list<TaskMessage|Canvas> */
    public readonly array $steps;

    /**
     * @param  array<array-key, TaskMessage|Canvas>  $steps
     */
    public function __construct(array $steps)
    {
        if ($steps === []) {
            throw new InvalidArgumentException('a chain needs a task');
        }
        $this->steps = array_values($steps);
    }

    public function tasks(): array
    {
        return self::tasksOf($this->steps);
    }

    public function last(): TaskMessage|Group
    {
        $last = $this->steps[count($this->steps) - 1];

        return $last instanceof TaskMessage ? $last : $last->last();
    }

    public function map(Closure $change): static
    {
        return (new self(array_map(static fn (TaskMessage|Canvas $step) => self::changed($step, $change), $this->steps)))
            ->withErrbacks(...array_map($change, $this->errbacks()));
    }

    public function mapFirst(Closure $change): static
    {
        $first = self::firstChanged($this->steps[0], $change);

        return (new self([$first, ...array_slice($this->steps, 1)]))->withErrbacks(...$this->errbacks());
    }
}
