<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use Closure;
use ReflectionFunction;
use ReflectionNamedType;

/**
 * Chooses recorded tasks by the name of the task, by the class of a job, or by a test.
 *
 * As with `Queue::fake()`, a test gets the job if its tasks are chosen by the class of a job, or if
 * its parameter has that type. Otherwise it gets the {@see PostedTask}.
 */
final class TaskFilter
{
    /**
     * @param  string|Closure|null  $task  a task's name, a job's class, or a test
     */
    public function __construct(
        private readonly string|Closure|null $task,
        private readonly ?Closure $callback = null,
    ) {
    }

    public function matches(PostedTask $posted): bool
    {
        $task = $this->task;
        $byClass = is_string($task) && $posted->job instanceof $task;
        $isMeant = match (true) {
            $task === null => true,
            $task instanceof Closure => $this->passes($task, $posted, false),
            default => $posted->name === $task || $byClass,
        };

        return $isMeant && ($this->callback === null || $this->passes($this->callback, $posted, $byClass));
    }

    public function describe(): string
    {
        return is_string($this->task) ? "[{$this->task}]" : 'asked for';
    }

    private function passes(Closure $test, PostedTask $posted, bool $byClass): bool
    {
        $type = ((new ReflectionFunction($test))->getParameters()[0] ?? null)?->getType();
        $class = $type instanceof ReflectionNamedType && ! $type->isBuiltin() ? $type->getName() : null;

        return match (true) {
            $class !== null && $posted instanceof $class => (bool) $test($posted),
            $class !== null => $posted->job instanceof $class && $test($posted->job, $posted),
            default => (bool) ($byClass ? $test($posted->job, $posted) : $test($posted)),
        };
    }
}
