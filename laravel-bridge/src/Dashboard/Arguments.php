<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

/**
 * Writes the arguments of a task as one line of text.
 */
final class Arguments
{
    /** The bytes of a line, at most. */
    private const LONGEST = 500;

    /** A worker may send its own text in place of the arguments. */
    public static function show(mixed $args, mixed $kwargs = []): string
    {
        $parts = [];
        foreach ([$args, $kwargs] as $part) {
            $text = is_string($part) ? $part : self::json($part);
            if (! in_array($text, ['[]', '{}', '()', 'null', ''], true)) {
                $parts[] = $text;
            }
        }

        return mb_strcut(mb_scrub(implode(' ', $parts)), 0, self::LONGEST);
    }

    public static function json(mixed $value, int $flags = 0): string
    {
        return (string) json_encode(
            $value,
            $flags | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR,
        );
    }
}
