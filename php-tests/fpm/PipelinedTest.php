<?php

namespace CeleryTests\Fpm;

use CeleryTests\FpmTestCase;

/**
 * `celery.publish=pipelined`: a request collects the answers to its posts when it ends, however it
 * ends.
 */
class PipelinedTest extends FpmTestCase
{
    /** Far longer than a page takes, in milliseconds. */
    private const PAUSE = 1500;

    public static function endings(): array
    {
        return [['its last line'], ['exit'], ['exception'], ['fatal error'], ['memory limit']];
    }

    /** @dataProvider endings */
    public function test_everything_is_in_the_queue_when_the_request_has_ended(string $by): void
    {
        $fpm = self::fpm();
        $pid = $fpm->get('works.php')->told()['pid'];
        $this->redis->del('celery');
        // Redis answers nothing for a while: only a request that waits for the answers ends later.
        $this->redis->rawCommand('CLIENT', 'PAUSE', self::PAUSE, 'WRITE');
        $fpm->get('pipelined.php', ['name' => 'a', 'by' => $by]);
        $this->assertSame(self::names('a'), $this->queued());

        $this->assertSame($pid, $fpm->get('pipelined.php', ['name' => 'b'])->told()['pid']);
        $this->assertSame([...self::names('a'), ...self::names('b')], $this->queued());
    }

    public function test_a_page_that_has_answered_flushes_afterwards(): void
    {
        $fpm = self::fpm();
        $pid = $fpm->get('works.php')->told()['pid'];
        $this->redis->del('celery');
        $this->redis->rawCommand('CLIENT', 'PAUSE', 60_000, 'WRITE');
        $this->assertSame($pid, $fpm->get('pipelined.php', ['name' => 'a', 'finish' => 1])->told()['pid']);
        $this->assertSame([], $this->queued());

        // The process serves no other request until the answers are there.
        $next = $fpm->begin('pipelined.php', ['name' => 'b']);
        $this->redis->rawCommand('CLIENT', 'UNPAUSE');
        $this->assertSame($pid, $next->answer()->told()['pid']);
        $this->assertSame([...self::names('a'), ...self::names('b')], $this->queued());
    }

    public function test_what_was_refused_is_told_in_its_own_request(): void
    {
        $fpm = self::fpm();
        foreach (['its last line', 'exit', 'fatal error'] as $by) {
            $this->redis->set('celery', 'a string, not a list');
            $refused = $fpm->get('pipelined.php', ['name' => 'a', 'by' => $by]);
            $this->assertStringContainsString('These tasks were not queued: a-1, a-2, a-3, a-4, a-5', $refused->errors);

            $this->redis->del('celery');
            $next = $fpm->get('pipelined.php', ['name' => 'b']);
            $this->assertSame(['', ['pid']], [$next->errors, array_keys($next->told())]);
            $this->assertSame(self::names('b'), $this->queued());
        }
    }

    public function test_what_had_no_answer_is_not_waited_for_by_the_next_request(): void
    {
        $fpm = self::fpm();
        $pid = $fpm->get('works.php')->told()['pid'];
        $this->redis->del('celery');
        $this->redis->rawCommand('CLIENT', 'PAUSE', 60_000, 'WRITE');
        $unanswered = $fpm->get('pipelined.php', ['name' => 'a', 'post_timeout' => '0.5']);
        $this->assertStringContainsString(
            'These tasks may or may not have been queued: a-1, a-2, a-3, a-4, a-5',
            $unanswered->errors
        );
        $this->redis->rawCommand('CLIENT', 'UNPAUSE');

        $next = $fpm->get('pipelined.php', ['name' => 'b']);
        $this->assertSame(['', $pid], [$next->errors, $next->told()['pid']]);
        $this->assertSame(self::names('b'), array_values(array_diff($this->queued(), self::names('a'))));
    }

    /**
     * @return list<string>
     */
    private static function names(string $name): array
    {
        return array_map(fn ($i) => "$name-$i", range(1, 5));
    }
}
