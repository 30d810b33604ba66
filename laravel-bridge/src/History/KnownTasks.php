<?php

declare(strict_types=1);

namespace CeleryBridge\History;

/**
 * The names and arguments of the tasks that are under way. Only the events `task-sent` and
 * `task-received` have them. It keeps the newest ones, between `$most` and twice as many.
 */
final class KnownTasks
{
    /** @var array<array-key, array{string, string}> name and arguments, by id */
    private array $newer = [];

    /** @var array<array-key, array{string, string}> */
    private array $older = [];

    public function __construct(private readonly int $most = 10_000)
    {
    }

    public function remember(string $id, string $name, string $arguments = ''): void
    {
        if (count($this->newer) >= $this->most) {
            $this->older = $this->newer;
            $this->newer = [];
        }
        $this->newer[$id] = [$name, $arguments];
    }

    public function nameOf(string $id): ?string
    {
        return ($this->newer[$id] ?? $this->older[$id] ?? [null])[0];
    }

    /** Returns the arguments as text; empty if they are unknown. */
    public function argumentsOf(string $id): string
    {
        return ($this->newer[$id] ?? $this->older[$id] ?? ['', ''])[1];
    }

    public function count(): int
    {
        return count($this->newer) + count($this->older);
    }
}
