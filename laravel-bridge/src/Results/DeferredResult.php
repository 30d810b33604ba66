<?php

declare(strict_types=1);

namespace CeleryBridge\Results;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\TaskNotPosted;
use CeleryBridge\Transactions\DeferredPost;

/**
 * The result of a task that waits for a commit. `get()` throws while no worker can have the task;
 * the other methods answer as for any task that has not ended.
 */
final class DeferredResult implements Result
{
    public function __construct(private readonly Result $result, private readonly DeferredPost $post)
    {
    }

    public function id(): string
    {
        return $this->result->id();
    }

    public function status(): string
    {
        return $this->result->status();
    }

    public function ready(): bool
    {
        return $this->result->ready();
    }

    public function successful(): bool
    {
        return $this->result->successful();
    }

    public function failed(): bool
    {
        return $this->result->failed();
    }

    public function progress(): mixed
    {
        return $this->result->progress();
    }

    public function get(?float $timeout = null): mixed
    {
        $this->ensurePosted();

        return $this->result->get($timeout);
    }

    /**
     * @throws TaskNotPosted
     */
    public function ensurePosted(): void
    {
        if (! $this->post->hasEnded()) {
            throw $this->post->isWaiting()
                ? TaskNotPosted::beforeCommit($this->id())
                : TaskNotPosted::rolledBack($this->id());
        }
    }

    public function traceback(): ?string
    {
        return $this->result->traceback();
    }

    public function forget(): void
    {
        $this->result->forget();
    }

    public function revoke(): void
    {
        $this->result->revoke();
    }
}
