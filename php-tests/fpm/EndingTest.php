<?php

namespace CeleryTests\Fpm;

use CeleryTests\FpmTestCase;

/**
 * Requests that end in the middle of a call, and the next requests of that worker process.
 */
class EndingTest extends FpmTestCase
{
    public static function endings(): array
    {
        return [
            'exit' => ['exit', 200, ''],
            'exception' => ['exception', 500, 'this exception stays uncaught'],
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
        // One task for each request that worked, and one for each request that ended after its
        // post.
        $this->assertCount(5, $this->queued());
    }

    public function test_requests_of_every_kind_in_any_order(): void
    {
        $fpm = self::fpm();
        $pid = $fpm->get('posts.php')->told()['pid'];
        $seed = random_int(0, PHP_INT_MAX);
        mt_srand($seed);
        $endings = ['exit', 'exception', 'fatal error', 'memory limit'];
        $posted = 1;
        for ($i = 0; $i < 400; ++$i) {
            $what = ['works', 'works', 'prefixed', 'ends', 'pipelined', 'closed'][mt_rand(0, 5)];
            $by = $endings[array_rand($endings)];
            $where = "$what ($by), request $i with the seed $seed";
            switch ($what) {
                case 'works':
                    $told = $fpm->get('works.php')->told();
                    $this->assertSame([5, $pid], [$told['read'], $told['pid']], $where);
                    ++$posted;
                    break;
                case 'prefixed':
                    self::store($this->redis, 'known', $i, 'site.');
                    $told = $fpm->get('prefixed/site.php', ['page' => 'works'])->told();
                    $this->assertSame([$i, $pid], [$told['read'], $told['pid']], $where);
                    break;
                case 'ends':
                    $this->assertSame('', $fpm->get('ends.php', ['by' => $by] + (mt_rand(0, 1) ? ['reads' => 1] : []))->body, $where);
                    ++$posted;
                    break;
                case 'pipelined':
                    $ended = $fpm->get('pipelined.php', ['name' => "task-$i", 'by' => $by]);
                    $this->assertStringNotContainsString('queued', $ended->errors, $where);
                    $posted += 5;
                    break;
                default:
                    $this->redis->rawCommand('CLIENT', 'KILL', 'USER', 'page');
            }
            $this->assertSame($posted, $this->redis->lLen('celery'), $where);
            // One connection for each of two prefixes.
            $this->assertLessThanOrEqual(2, count(self::connections($this->redis)), $where);
        }
    }

    public function test_a_time_limit_in_the_middle_of_a_wait(): void
    {
        $fpm = self::fpm();
        $before = $fpm->get('works.php')->told();
        $waiting = $fpm->begin('waits.php', ['id' => 'slow']);
        $this->waitForReader('slow');
        $connections = self::connections($this->redis);
        // This is the system's signal for used-up processor time. A wait uses no processor time, so
        // the test sends the signal.
        posix_kill($before['pid'], SIGPROF);
        $ended = $waiting->answer();
        $this->assertSame([500, ''], [$ended->status, $ended->body]);
        $this->assertStringContainsString('Maximum execution time', $ended->errors);

        self::store($this->redis, 'slow', 6);
        $after = $fpm->get('waits.php', ['id' => 'slow'])->told();
        $this->assertSame(['read' => 6, 'pid' => $before['pid']], $after);
        // The connection was in the middle of a call, so it was closed.
        $this->assertCount(1, $own = self::connections($this->redis));
        $this->assertSame([], array_intersect($connections, $own));
    }
}
