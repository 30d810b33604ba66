<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use Illuminate\Contracts\Cache\Repository;
use Throwable;

/**
 * Tells the dashboard that `celery:listen` runs, through the application's cache. A cache that
 * fails stops neither the listener nor a page.
 */
final class ListenerHeartbeat
{
    /**
     * Seconds after which a silent listener counts as stopped. `--once` from a scheduler runs each
     * minute at the most often.
     */
    private const LIFE = 180;

    /** Seconds between two writes. */
    private const PAUSE = 10.0;

    private float $next = 0.0;

    public function __construct(private readonly Repository $cache, private readonly string $connection)
    {
    }

    public function beat(): void
    {
        if (microtime(true) < $this->next) {
            return;
        }
        $this->next = microtime(true) + self::PAUSE;
        try {
            $this->cache->put($this->key(), time(), self::LIFE);
        } catch (Throwable) {
            // The dashboard then says that no listener runs.
        }
    }

    /** Returns true if a listener of this connection has run lately. */
    public function isAlive(): bool
    {
        try {
            return $this->cache->get($this->key()) !== null;
        } catch (Throwable) {
            return false;
        }
    }

    private function key(): string
    {
        return "celery:listener:{$this->connection}";
    }
}
