<?php

namespace CeleryTests\Interop;

use CeleryTests\Background;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * Chains, groups and chords with all options in all places: a Python worker and ours publish and
 * store equal data. `COMPOSITES=--all` tries every set of options everywhere, which takes about ten
 * minutes.
 */
class CompositesTest extends TestCase
{
    private const PYTHON_DB = 9;
    private const OUR_DB = 10;

    public function test_the_options_of_composites(): void
    {
        $python = new Background(
            [Programs::python('5.7'), '-m', 'celery', '-A', 'composites', 'worker', '-Q', 'run', '-P', 'solo', '-l', 'info'],
            $this->environment(self::PYTHON_DB),
            self::folder()
        );
        $python->waitForText(' ready.', 60);
        $ours = Programs::playground(['-Q', 'run'], self::OUR_DB);
        $programs = [$this->start(self::PYTHON_DB), $this->start(self::OUR_DB)];
        [$expected, $actual] = array_map($this->end(...), $programs);
        $python->stop();
        $ours->stop();

        $this->assertGreaterThanOrEqual(300, count($expected));
        $this->assertSame(array_keys($expected), array_keys($actual));
        $log = $ours->log();
        $different = [];
        foreach ($expected as $case => $transcript) {
            $this->assertIsArray($transcript, "$case: Python's worker: " . json_encode($transcript));
            $this->assertIsArray($actual[$case], "$case: " . json_encode($actual[$case]) . "\n$log");
            if ($transcript['open']) {
                $this->assertEnds($transcript, $actual[$case], $case);
            } elseif ($actual[$case] !== $transcript) {
                $different[] = $case;
            }
        }
        $first = $different[0] ?? null;
        $this->assertSame($expected[$first] ?? null, $actual[$first] ?? null, implode("\n", $different) . "\n$log");
    }

    /**
     * Python never ends the outer chord; our worker does what Python does and then fails the
     * chord's body.
     */
    private function assertEnds(array $python, array $ours, string $case): void
    {
        $names = fn (array $all) => array_map(fn ($message) => [$message['headers']['task'], $message['args']], $all['messages']);
        $this->assertSame([], array_udiff($names($python), $names($ours), fn ($a, $b) => $a <=> $b), $case);
        $failures = fn (array $all) => count(array_filter($all['documents'], fn ($it) => ($it[1]['status'] ?? '') === 'FAILURE'));
        $this->assertGreaterThan($failures($python), $failures($ours), $case);
    }

    /**
     * Starts composites.py with the worker on a database.
     */
    private function start(int $db): array
    {
        $command = [Programs::python('5.7'), 'composites.py', ...preg_split('/ +/', (string) getenv('COMPOSITES'), -1, PREG_SPLIT_NO_EMPTY)];
        $program = proc_open($command, [1 => ['pipe', 'w']], $pipes, self::folder(), $this->environment($db) + getenv());

        return [$program, $pipes[1]];
    }

    /**
     * Returns the findings of composites.py at its end.
     */
    private function end(array $started): array
    {
        [$program, $pipe] = $started;
        $output = stream_get_contents($pipe);
        proc_close($program);

        return json_decode($output, true, 512, JSON_THROW_ON_ERROR);
    }

    private function environment(int $db): array
    {
        return [
            'REDIS_URL' => Programs::redisUrl($db),
            'PYTHONDONTWRITEBYTECODE' => '1',
            'PYTHONUNBUFFERED' => '1',
            // Celery writes the names of stamps in the order of a set.
            'PYTHONHASHSEED' => '0',
        ];
    }

    private static function folder(): string
    {
        return Programs::root() . '/php-tests/interop/python';
    }
}
