<?php

declare(strict_types=1);

namespace CeleryBridge\Canvas;

use CeleryBridge\TaskMessage;
use Closure;

/**
 * A group, and a body that begins when all members have succeeded. It gets the list of their
 * results as its first argument, unless it is immutable.
 */
final class Chord extends Canvas
{
    public function __construct(public readonly Group $header, public readonly TaskMessage|Canvas $body)
    {
    }

    public function tasks(): array
    {
        return self::tasksOf([$this->header, $this->body]);
    }

    public function last(): TaskMessage|Group
    {
        return $this->body instanceof TaskMessage ? $this->body : $this->body->last();
    }

    public function map(Closure $change): static
    {
        return (new self($this->header->map($change), self::changed($this->body, $change)))
            ->withErrbacks(...array_map($change, $this->errbacks()));
    }

    public function mapFirst(Closure $change): static
    {
        return (new self($this->header->mapFirst($change), $this->body))->withErrbacks(...$this->errbacks());
    }
}
