<?php

namespace CeleryTests;

/**
 * Waiting with a deadline.
 */
final class Wait
{
    /**
     * Returns the first true value of the condition.
     *
     * @template T
     * @param callable(): T $condition
     * @return T
     */
    public static function until(string $what, float $seconds, callable $condition)
    {
        $end = microtime(true) + $seconds;
        do {
            $value = $condition();
            if ($value) {
                return $value;
            }
            usleep(20_000);
        } while (microtime(true) < $end);

        throw new \RuntimeException("$what: not within $seconds s");
    }
}
