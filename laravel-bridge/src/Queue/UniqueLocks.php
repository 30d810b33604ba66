<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use Illuminate\Bus\UniqueLock;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Queue\ShouldBeUnique;

/**
 * The lock that Laravel takes when a `ShouldBeUnique` job is dispatched. Laravel's own workers
 * release it. If the job's task was not posted, only this class releases it.
 */
final class UniqueLocks
{
    public static function release(Container $container, mixed $job): void
    {
        if (! $job instanceof ShouldBeUnique) {
            return;
        }

        // Newer Laravels note the lock that a dispatch has taken. A job without one was pushed
        // directly, and the lock may be that of another dispatch.
        if (($job->uniqueLockOwner ?? null) === '') {
            return;
        }

        $cache = $container->make(Cache::class);
        $lock = new UniqueLock($cache);
        if (method_exists($lock, 'release')) {
            $lock->release($job);

            return;
        }

        // Before Laravel 10 only Laravel's worker could release the lock:
        // CallQueuedHandler::ensureUniqueJobLockIsReleased().
        $id = method_exists($job, 'uniqueId') ? $job->uniqueId() : ($job->uniqueId ?? '');
        $cache = method_exists($job, 'uniqueVia') ? $job->uniqueVia() : $cache;
        $cache->lock('laravel_unique_job:'.get_class($job).$id)->forceRelease();
    }
}
