<?php

declare(strict_types=1);

namespace CeleryParity;

/** Runs cases; keeps and compares the observations. */
final class Transcript
{
    /** The mark for "nothing is at this place", in a comparison and in intended.php. */
    public const ABSENT = '<absent>';

    /** Runs one case; returns plain data, as a JSON file would give it back. */
    public static function observe(callable $case, Tools $lab): mixed
    {
        try {
            $seen = $case($lab);
        } catch (\Throwable $thrown) {
            $seen = ['case ended by' => $lab->observation->value($thrown)];
        }

        return json_decode(self::encode($seen), true, flags: JSON_THROW_ON_ERROR);
    }

    public static function encode(mixed $seen): string
    {
        return json_encode($seen, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION);
    }

    /** Returns the path of the transcript of a broker's cases. */
    public static function file(string $broker): string
    {
        return dirname(__DIR__) . "/transcripts/$broker.json";
    }

    /** @return array<string, mixed> name of a case => what celery-php answered */
    public static function recorded(string $broker): array
    {
        return json_decode((string) file_get_contents(self::file($broker)), true, flags: JSON_THROW_ON_ERROR)['cases'];
    }

    /**
     * Returns the places where two observations differ.
     *
     * @return array<string, array{mixed, mixed}> path, its parts joined by " > " => [in $one, in $other]
     */
    public static function differences(mixed $one, mixed $other, string $path = ''): array
    {
        if (!is_array($one) || !is_array($other) || array_is_list($one) !== array_is_list($other)) {
            return $one === $other ? [] : [$path => [$one, $other]];
        }
        $found = [];
        foreach (array_keys($one + $other) as $key) {
            $below = $path === '' ? (string) $key : "$path > $key";
            $found += self::differences(
                array_key_exists($key, $one) ? $one[$key] : self::ABSENT,
                array_key_exists($key, $other) ? $other[$key] : self::ABSENT,
                $below,
            );
        }

        return $found;
    }
}
