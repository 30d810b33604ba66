<?php

namespace CeleryTests\Fpm;

use CeleryTests\FpmTestCase;

/**
 * Requests that end in the middle of a call, and what the same worker process does next.
 */
class EndingTest extends FpmTestCase
{
    public static function endings(): array
    {
        return [
            'exit' => ['exit', 200, ''],
            'exception' => ['exception', 500, 'nobody catches this'],
            'fatal error' => ['fatal error', 500, 'Failed opening required'],
            'memory limit' => ['memory limit', 500, 'Allowed memory size'],
            'time limit' => ['time limit', 500, 'Maximum execution time'],
        ];
    }

    /** @dataProvider endings */
    public function test_the_next_request_works_as_if_nothing_had_happened(string $by, int $status, string $error): void
    {
        $fpm = self::fpm();
        $before = $fpm->get('works.php')->told();
        $connections = self::connections($this->redis);
        foreach ([[], ['reads' => 1]] as $where) {
            $ended = $fpm->get('ends.php', ['by' => $by] + $where);
            $this->assertSame([$status, ''], [$ended->status, $ended->body]);
            $this->assertStringContainsString($error, $ended->errors);

            $after = $fpm->get('works.php')->told();
            $this->assertSame([5, $before['pid']], [$after['read'], $after['pid']]);
            $this->assertSame($connections, self::connections($this->redis));
            $this->assertSame($after['posted'], $this->queued()[array_key_last($this->queued())]);
        }
        // One of each request that works, and one of each that ended later.
        $this->assertCount(5, $this->queued());
    }

    public function test_a_time_limit_in_the_middle_of_a_wait(): void
    {
        $fpm = self::fpm();
        $before = $fpm->get('works.php')->told();
        $waiting = $fpm->begin('waits.php', ['id' => 'slow']);
        $this->waitForReader('slow');
        $connections = self::connections($this->redis);
        // The system's word that the processor's time is over. A wait uses none, so the test gives it.
        posix_kill($before['pid'], SIGPROF);
        $ended = $waiting->answer();
        $this->assertSame([500, ''], [$ended->status, $ended->body]);
        $this->assertStringContainsString('Maximum execution time', $ended->errors);

        self::store($this->redis, 'slow', 6);
        $after = $fpm->get('waits.php', ['id' => 'slow'])->told();
        $this->assertSame(['read' => 6, 'pid' => $before['pid']], $after);
        // What listened was in the middle of something, and was closed; what asked perhaps was not.
        $this->assertCount(2, $own = self::connections($this->redis));
        $this->assertLessThan(2, count(array_intersect($connections, $own)));
    }
}
