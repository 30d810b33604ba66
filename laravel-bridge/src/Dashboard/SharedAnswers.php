<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Closure;
use Illuminate\Contracts\Cache\Repository as Cache;
use Throwable;

/**
 * Answers of a broker, workers or a database that all viewers of a page share, through the
 * application's cache.
 *
 * A question is asked at most every two seconds by default: one viewer asks, and the others get the last
 * answer meanwhile. A cache that fails makes the pages slower, no more.
 */
final class SharedAnswers
{
    private const FRESH = 2.0;

    /** Seconds for which the viewers get an answer that is not fresh, while one of them asks. */
    private const STALE = 30;

    public function __construct(private readonly Cache $cache)
    {
    }

    /**
     * @template T of array<string, mixed>
     *
     * @param  Closure(): T  $ask
     * @param  float  $fresh  seconds for which an answer is not asked again
     * @return T with `at`, the Unix time of the answer
     */
    public function get(string $question, Closure $ask, float $fresh = self::FRESH): array
    {
        $key = "celery:dashboard:{$question}";
        $last = $this->cached(fn (): mixed => $this->cache->get($key));
        $last = is_array($last) ? $last : null;
        if ($last !== null && microtime(true) - $last['at'] < $fresh) {
            return $last;
        }
        if ($last !== null && ! $this->cached(fn (): bool => $this->cache->add("{$key}:asking", 1, 10), true)) {
            return $last;
        }

        $answer = $ask();
        $answer['at'] = microtime(true);
        $this->cached(fn (): bool => $this->cache->put($key, $answer, (int) $fresh + self::STALE));
        $this->cached(fn (): bool => $this->cache->forget("{$key}:asking"));

        return $answer;
    }

    /** Makes the next question ask again. */
    public function forget(string $question): void
    {
        $this->cached(fn (): bool => $this->cache->forget("celery:dashboard:{$question}"));
    }

    private function cached(callable $call, mixed $otherwise = null): mixed
    {
        try {
            return $call();
        } catch (Throwable) {
            return $otherwise;
        }
    }
}
