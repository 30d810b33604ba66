<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

/**
 * Writes a duration with two digits: `0.48 ms`, `37 ms`, `1.2 s`, `12 min`.
 */
final class Seconds
{
    public static function show(float $seconds): string
    {
        return match (true) {
            $seconds < 0.01 => self::number($seconds * 1000, 2).' ms',
            $seconds < 1 => self::number($seconds * 1000, 0).' ms',
            $seconds < 10 => self::number($seconds, 1).' s',
            $seconds < 120 => self::number($seconds, 0).' s',
            $seconds < 7200 => self::number($seconds / 60, 0).' min',
            default => self::number($seconds / 3600, 0).' h',
        };
    }

    private static function number(float $number, int $decimals): string
    {
        return number_format($number, $decimals, '.', '');
    }
}
