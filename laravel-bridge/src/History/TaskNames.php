<?php

declare(strict_types=1);

namespace CeleryBridge\History;

/**
 * The names of the tasks that are under way. Only the events `task-sent` and `task-received` have
 * them. It keeps the newest ones, between `$most` and twice as many.
 */
final class TaskNames
{
    /** @var array<array-key, string> by id */
    private array $newer = [];

    /** @var array<array-key, string> */
    private array $older = [];

    public function __construct(private readonly int $most = 25_000)
    {
    }

    public function remember(string $id, string $name): void
    {
        if (count($this->newer) >= $this->most) {
            $this->older = $this->newer;
            $this->newer = [];
        }
        $this->newer[$id] = $name;
    }

    public function of(string $id): ?string
    {
        return $this->newer[$id] ?? $this->older[$id] ?? null;
    }

    public function count(): int
    {
        return count($this->newer) + count($this->older);
    }
}
