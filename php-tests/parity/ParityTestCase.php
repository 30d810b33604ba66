<?php

declare(strict_types=1);

namespace CeleryParity;

use PHPUnit\Framework\TestCase;

/**
 * The extension answers every case of a broker as celery-php did when the transcript was recorded,
 * except for the intended differences. Those must be exactly as listed: a difference that vanishes or
 * changes fails too.
 */
abstract class ParityTestCase extends TestCase
{
    /** The broker, after which transcript and differences are named. */
    protected const BROKER = '';

    /** Returns the tools of a case. */
    abstract protected static function lab(string $case): Tools;

    public static function tearDownAfterClass(): void
    {
        ini_restore('celery.task_protocol');
    }

    /** @dataProvider runs */
    public function test_answers_as_celery_php_or_as_intended(string $name, int $protocol): void
    {
        ini_set('celery.task_protocol', (string) $protocol);
        $observed = Transcript::observe(static::cases()[$name], static::lab($name));
        $differences = array_map(
            fn (array $pair) => $pair[1],
            Transcript::differences(Transcript::recorded(static::BROKER)[$name], $observed),
        );
        $intended = static::intended()[$protocol][$name] ?? [];
        ksort($differences);
        ksort($intended);

        self::assertSame($intended, $differences, "differences from celery-php in \"$name\" (place => our answer)");
    }

    public function test_the_transcript_has_exactly_the_cases(): void
    {
        $recorded = array_keys(Transcript::recorded(static::BROKER));
        self::assertSame(array_keys(static::cases()), $recorded, 'run record.php again');
    }

    public function test_intended_differences_are_of_known_cases(): void
    {
        $intended = array_keys(array_replace(...static::intended()));
        self::assertSame([], array_diff($intended, array_keys(static::cases())));
    }

    public static function runs(): array
    {
        $runs = [];
        foreach (array_keys(static::cases()) as $name) {
            foreach ([2, 1] as $protocol) {
                $runs["$name (protocol $protocol)"] = [$name, $protocol];
            }
        }

        return $runs;
    }

    /** @return array<string, callable> */
    private static function cases(): array
    {
        static $cases = null;
        $cases ??= require __DIR__ . '/cases.php';

        return $cases[static::BROKER];
    }

    /** @return array<int, array<string, array<string, mixed>>> protocol => case => place => our answer */
    private static function intended(): array
    {
        static $all = [];
        $intended = $all[static::BROKER] ?? null;
        if ($intended === null) {
            $intended = [1 => [], 2 => []];
            foreach (require __DIR__ . '/intended/' . static::BROKER . '.php' as $group) {
                self::assertNotSame('', $group['why'], 'every intended difference has its reason');
                foreach (isset($group['protocol']) ? [$group['protocol']] : [1, 2] as $protocol) {
                    foreach ($group['cases'] as $name => $places) {
                        $known = $intended[$protocol][$name] ?? [];
                        self::assertSame([], array_intersect_key($known, $places), "listed twice: $name");
                        $intended[$protocol][$name] = $known + $places;
                    }
                }
            }
            $all[static::BROKER] = $intended;
        }

        return $intended;
    }
}
