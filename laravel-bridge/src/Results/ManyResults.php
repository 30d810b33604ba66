<?php

declare(strict_types=1);

namespace CeleryBridge\Results;

use ArrayIterator;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Results;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Exceptions\ResultTimedOut;
use Traversable;

/**
 * Results of one transport. It remembers the tasks that have ended and asks only for the others.
 */
final class ManyResults implements Results
{
    /** @var array<string, string> the final states of the tasks that have ended, by id */
    private array $ended = [];

    /**
     * @param  array<array-key, Result>  $results
     */
    public function __construct(
        private readonly Transport $transport,
        private readonly array $results,
        private readonly ?string $id = null,
    ) {
    }

    public function id(): ?string
    {
        return $this->id;
    }

    public function all(): array
    {
        return $this->results;
    }

    public function getIterator(): Traversable
    {
        return new ArrayIterator($this->results);
    }

    public function count(): int
    {
        return count($this->results);
    }

    public function ready(): bool
    {
        return $this->look(0.0) === [];
    }

    public function successful(): bool
    {
        return $this->ready() && array_diff($this->ended, ['SUCCESS']) === [];
    }

    public function failed(): bool
    {
        $this->look(0.0);

        return array_diff($this->ended, ['SUCCESS']) !== [];
    }

    public function endedCount(): int
    {
        $open = array_flip($this->look(0.0));

        return count(array_filter($this->results, static fn (Result $result): bool => ! isset($open[$result->id()])));
    }

    public function get(?float $timeout = null): array
    {
        foreach ($this->results as $result) {
            if ($result instanceof DeferredResult) {
                $result->ensurePosted();
            }
        }

        $open = $this->look($timeout);
        $failed = array_diff($this->ended, ['SUCCESS']);
        foreach ($this->results as $result) {
            if (isset($failed[$result->id()])) {
                $result->get(0.0);
            }
        }
        if ($open !== []) {
            throw new ResultTimedOut($open[0], $timeout);
        }

        return array_map(static fn (Result $result): mixed => $result->get(0.0), $this->results);
    }

    public function forget(): void
    {
        foreach ($this->results as $result) {
            $result->forget();
        }
        $this->ended = [];
    }

    public function revoke(): void
    {
        foreach ($this->results as $result) {
            $result->revoke();
        }
    }

    /**
     * Waits for the tasks that have not ended, and returns those that still have not.
     *
     * @return list<string>
     */
    private function look(?float $timeout): array
    {
        $open = $this->open();
        if ($open !== []) {
            $this->ended += $this->transport->ended($open, $timeout);
        }

        return $this->open();
    }

    /**
     * @return list<string>
     */
    private function open(): array
    {
        $open = [];
        foreach ($this->results as $result) {
            if (! isset($this->ended[$result->id()])) {
                $open[$result->id()] = $result->id();
            }
        }

        return array_values($open);
    }
}
