<?php

declare(strict_types=1);

namespace CeleryBridge\Transactions;

use Closure;
use Illuminate\Contracts\Container\Container;
use Throwable;
use WeakMap;

/**
 * Runs posts after the open database transaction commits, and knows which posts still wait.
 *
 * Laravel's transaction manager holds the only reference to a waiting callback. After a rollback it
 * drops the callback, which ends the entry here, too. A long-running process keeps nothing.
 */
final class AfterCommit
{
    /** @var WeakMap<Closure, DeferredPost> */
    private WeakMap $waiting;

    /**
     * @param  bool  $enabled  false: every post runs at once, as in the fake
     */
    public function __construct(private readonly Container $container, private readonly bool $enabled = true)
    {
        $this->waiting = new WeakMap();
    }

    /**
     * Posts after the commit; at once outside a transaction. Returns true if the post waits.
     *
     * @param  list<string>  $ids  the tasks that it posts
     * @param  Closure(): mixed  $post
     * @param  (Closure(Throwable): mixed)|null  $failed  called if a post that waited fails
     * @param  (Closure(): mixed)|null  $rolledBack  called on a rollback, since Laravel 11
     */
    public function run(array $ids, Closure $post, ?Closure $failed = null, ?Closure $rolledBack = null): bool
    {
        if (! $this->enabled || ! $this->container->bound('db.transactions')) {
            $post();

            return false;
        }

        $deferred = new DeferredPost($ids);
        $callback = static function () use ($deferred, $post, $failed): void {
            $deferred->end();

            try {
                $post();
            } catch (Throwable $e) {
                if ($failed !== null && $deferred->hasWaited()) {
                    $failed($e);
                }

                throw $e;
            }
        };
        $deferred->heldBy($callback);
        $this->waiting[$callback] = $deferred;

        $transactions = $this->container->make('db.transactions');
        $transactions->addCallback($callback);
        if ($deferred->hasEnded()) {
            return false;
        }

        $deferred->wait();
        if ($rolledBack !== null && method_exists($transactions, 'addCallbackForRollback')) {
            $transactions->addCallbackForRollback($rolledBack);
        }

        return true;
    }

    /**
     * Returns the post that still has to send a task; null if no post of this task waits.
     */
    public function find(string $id): ?DeferredPost
    {
        foreach ($this->waiting as $deferred) {
            if ($deferred->isWaiting() && in_array($id, $deferred->ids, true)) {
                return $deferred;
            }
        }

        return null;
    }
}
