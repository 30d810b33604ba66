<?php

namespace CeleryTests\Interop;

use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * A Python worker and ours on one queue: each runs some of the tasks, and none is run twice or
 * lost.
 */
class MixedFleetTest extends TestCase
{
    private const DB = 6;
    private const TASKS = 400;

    public function test_both_serve_one_queue(): void
    {
        $python = Programs::pythonWorker('5.7', self::DB);
        $ours = Programs::playground(['-c', '2'], self::DB);
        $client = new \Celery(
            getenv('REDIS_HOST'),
            null,
            null,
            self::DB,
            'celery',
            'celery',
            (int) getenv('REDIS_PORT'),
            'redis'
        );
        $results = [];
        for ($n = 0; $n < self::TASKS; $n++) {
            // Long enough that one worker cannot take all tasks before the other looks.
            $results[] = $client->PostTask('proj.sleep', [0.01]);
        }
        foreach ($results as $result) {
            $this->assertEquals(0.01, $result->get(30));
        }
        $ours->stop();
        $python->stop();

        $done = fn (string $log) => substr_count($log, ' succeeded in ');
        $this->assertGreaterThan(0, $done($python->log()));
        $this->assertGreaterThan(0, $done($ours->log()));
        $this->assertSame(self::TASKS, $done($python->log()) + $done($ours->log()));
        $redis = Programs::redis(self::DB);
        $this->assertSame([0, 0], [$redis->lLen('celery'), $redis->hLen('unacked')]);
    }
}
