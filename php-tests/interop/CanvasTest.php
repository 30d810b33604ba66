<?php

namespace CeleryTests\Interop;

use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * Chains, groups and chords that Python posts, run by our worker alone and by ours and a Python
 * worker together.
 */
class CanvasTest extends TestCase
{
    private const DB = 7;
    private const MIXED_DB = 8;

    /** The results of the canvases of canvas.py that succeed. */
    public const ANSWERS = [
        'linked' => [3, 21],
        'chain' => 21,
        'group' => [3, 7],
        'chain_group' => [13, 23],
        'chord' => 10,
        'chord_of_one' => 3,
        'large_chord' => 5050,
        'chain_group_chain' => 72,
        'two_groups' => 23,
        'header_of_chains' => 18,
        'header_of_groups' => 21,
        'chord_in_a_header' => 12,
        'body_of_a_chain' => 100,
        'body_of_a_group' => [
            ['args' => [[3, 7], 1], 'kwargs' => []],
            ['args' => [[3, 7], 2], 'kwargs' => []],
        ],
    ];

    public function versions(): array
    {
        return array_combine(Programs::PYTHONS, array_map(fn ($version) => [$version], Programs::PYTHONS));
    }

    /** @dataProvider versions */
    public function test_our_worker_alone(string $version): void
    {
        $ours = Programs::playground([], self::DB);
        $this->assertAnswers($this->answers($version, self::DB), $ours->log());
        $ours->stop();
        $this->assertNothingIsLeft(self::DB);
    }

    public function test_ours_and_a_python_worker(): void
    {
        $python = Programs::pythonWorker('5.7', self::MIXED_DB);
        $ours = Programs::playground(['-c', '2', '--prefetch-multiplier', '1'], self::MIXED_DB);
        for ($round = 0; $round < 5; $round++) {
            $this->assertAnswers($this->answers('5.7', self::MIXED_DB), $ours->log() . $python->log());
        }
        $ours->stop();
        $python->stop();
        $done = fn (string $log) => substr_count($log, ' succeeded in ');
        $this->assertGreaterThan(0, $done($python->log()));
        $this->assertGreaterThan(0, $done($ours->log()));
        $this->assertNothingIsLeft(self::MIXED_DB);
    }

    private function assertAnswers(array $answers, string $log): void
    {
        foreach (self::ANSWERS as $check => $answer) {
            $this->assertSame($answer, $answers[$check], $check . "\n" . $log);
        }
        foreach (['chord_fails', 'chain_in_a_header_fails'] as $check) {
            $this->assertSame('ChordError', $answers[$check]['type'] ?? json_encode($answers[$check]), $log);
            $this->assertStringContainsString("ValueError('alas')", $answers[$check]['message']);
        }
    }

    private function assertNothingIsLeft(int $db): void
    {
        $redis = Programs::redis($db);
        $this->assertSame([0, 0, 0], [$redis->lLen('celery'), $redis->hLen('unacked'), $redis->xLen('celery.dead')]);
        // A chord that succeeded leaves only its counter; Python keeps the members of a failed one
        // until they expire.
        $this->assertSame([], $redis->keys('celery-taskset-meta-*.s'));
    }

    /**
     * Returns the answers to every check of canvas.py.
     */
    private function answers(string $version, int $db): array
    {
        $environment = ['REDIS_URL' => Programs::redisUrl($db), 'PYTHONDONTWRITEBYTECODE' => '1'];
        $folder = Programs::root() . '/php-tests/interop/python';
        $command = [Programs::python($version), 'canvas.py'];
        $process = proc_open($command, [1 => ['pipe', 'w']], $pipes, $folder, $environment + getenv());
        $output = stream_get_contents($pipes[1]);
        proc_close($process);

        return json_decode($output, true, 512, JSON_THROW_ON_ERROR);
    }
}
