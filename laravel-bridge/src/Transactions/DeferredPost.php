<?php

declare(strict_types=1);

namespace CeleryBridge\Transactions;

use Closure;
use WeakReference;

/**
 * The state of a post that waits for a commit: waiting, ended, or dropped by a rollback.
 */
final class DeferredPost
{
    private bool $hasEnded = false;

    private bool $hasWaited = false;

    /** @var WeakReference<Closure>|null gone as soon as Laravel drops the callback */
    private ?WeakReference $callback = null;

    /**
     * @param  list<string>  $ids
     */
    public function __construct(public readonly array $ids)
    {
    }

    public function heldBy(Closure $callback): void
    {
        $this->callback = WeakReference::create($callback);
    }

    /** Notes that the caller continues before the task is posted. */
    public function wait(): void
    {
        $this->hasWaited = true;
    }

    /** Notes that the post begins. */
    public function end(): void
    {
        $this->hasEnded = true;
    }

    public function hasWaited(): bool
    {
        return $this->hasWaited;
    }

    public function hasEnded(): bool
    {
        return $this->hasEnded;
    }

    /** Returns true while the transaction is open. */
    public function isWaiting(): bool
    {
        return ! $this->hasEnded && $this->callback?->get() !== null;
    }
}
