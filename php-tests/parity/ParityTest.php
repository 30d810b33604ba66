<?php

declare(strict_types=1);

namespace CeleryParity;

use PHPUnit\Framework\TestCase;

/**
 * The extension answers every case as celery-php did when transcript.json was recorded, except for
 * the differences in intended.php. Those must be exactly as listed: a difference that vanishes or
 * changes fails too.
 */
final class ParityTest extends TestCase
{
    private static ?PrivateRedis $redis = null;

    public static function setUpBeforeClass(): void
    {
        self::$redis = PrivateRedis::start();
    }

    public static function tearDownAfterClass(): void
    {
        self::$redis = null;
        ini_restore('celery.task_protocol');
    }

    /** @dataProvider runs */
    public function test_answers_as_celery_php_or_as_intended(string $name, int $protocol): void
    {
        ini_set('celery.task_protocol', (string) $protocol);
        $observed = Transcript::observe(self::cases()[$name], self::$redis);
        $differences = array_map(
            fn (array $pair) => $pair[1],
            Transcript::differences(Transcript::recorded()[$name], $observed),
        );
        $intended = self::intended()[$protocol][$name] ?? [];
        ksort($differences);
        ksort($intended);

        self::assertSame($intended, $differences, "differences from celery-php in \"$name\" (place => our answer)");
    }

    public function test_the_transcript_has_exactly_the_cases(): void
    {
        self::assertSame(array_keys(self::cases()), array_keys(Transcript::recorded()), 'run record.php again');
    }

    public function test_intended_differences_are_of_known_cases(): void
    {
        self::assertSame([], array_diff(array_keys(array_replace(...self::intended())), array_keys(self::cases())));
    }

    public static function runs(): array
    {
        $runs = [];
        foreach (array_keys(self::cases()) as $name) {
            foreach ([2, 1] as $protocol) {
                $runs["$name (protocol $protocol)"] = [$name, $protocol];
            }
        }

        return $runs;
    }

    private static function cases(): array
    {
        static $cases = null;

        return $cases ??= require __DIR__ . '/cases.php';
    }

    /** @return array<int, array<string, array<string, mixed>>> protocol => case => place => our answer */
    private static function intended(): array
    {
        static $intended = null;
        if ($intended === null) {
            $intended = [1 => [], 2 => []];
            foreach (require __DIR__ . '/intended.php' as $group) {
                self::assertNotSame('', $group['why'], 'every intended difference has its reason');
                foreach (isset($group['protocol']) ? [$group['protocol']] : [1, 2] as $protocol) {
                    foreach ($group['cases'] as $name => $places) {
                        $known = $intended[$protocol][$name] ?? [];
                        self::assertSame([], array_intersect_key($known, $places), "listed twice: $name");
                        $intended[$protocol][$name] = $known + $places;
                    }
                }
            }
        }

        return $intended;
    }
}
