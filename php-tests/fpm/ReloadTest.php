<?php

namespace CeleryTests\Fpm;

use CeleryTests\FastCgiAnswer;
use CeleryTests\Fpm;
use CeleryTests\FpmTestCase;
use CeleryTests\Wait;

/**
 * SIGUSR2, which `systemctl reload php-fpm` sends: the worker processes finish their requests, and
 * new ones take over.
 */
class ReloadTest extends FpmTestCase
{
    private const AT_ONCE = 8;
    private const DEADLINE = 60;

    public function test_a_reload_under_load_loses_nothing(): void
    {
        $fpm = self::fpm(['www' => ['pm.max_children' => 4]]);
        $answers = [];
        $this->load($fpm, $answers, fn (int $answered) => $answered >= 50);
        $before = self::pids($answers);
        $fpm->reload();
        $this->load($fpm, $answers, fn () => $fpm->reloads() === 1);
        $reloaded = count($answers);
        $this->load($fpm, $answers, fn (int $answered) => $answered >= $reloaded + 50);

        $this->assertSame([], array_diff(array_map(fn ($answer) => $answer->status, $answers), [200]));
        $this->assertSame([], array_intersect($before, self::pids(array_slice($answers, $reloaded))));
        $posted = array_map(fn ($answer) => $answer->told()['posted'], $answers);
        $this->assertEqualsCanonicalizing($posted, $this->queued());
    }

    public function test_a_wait_for_a_result_survives_a_reload(): void
    {
        $fpm = self::fpm();
        $pid = $fpm->get('works.php')->told()['pid'];
        $waiting = $fpm->begin('waits.php', ['id' => 'slow']);
        $this->waitForReader('slow');
        $fpm->reload();
        Wait::until('the reload', 60, fn () => str_contains($fpm->log(), 'Reloading in progress'));
        self::store($this->redis, 'slow', 6);
        $this->assertSame(['read' => 6, 'pid' => $pid], $waiting->answer()->told());
        Wait::until('the end of the reload', self::DEADLINE, fn () => $fpm->reloads() === 1);
        $this->assertNotSame($pid, $fpm->get('works.php')->told()['pid']);
    }

    /**
     * Keeps a number of requests under way until the condition is true; then waits for their
     * answers.
     *
     * @param list<FastCgiAnswer> $answers
     * @param callable(int): bool $enough given the number of answers
     */
    private function load(Fpm $fpm, array &$answers, callable $enough): void
    {
        $open = [];
        $end = microtime(true) + self::DEADLINE;
        while (!($done = $enough(count($answers))) || $open) {
            if (microtime(true) > $end) {
                $this->fail('no end of the load: ' . count($answers) . ' answers');
            }
            while (!$done && count($open) < self::AT_ONCE) {
                $open[] = $fpm->begin('posts.php');
            }
            [$read, $none] = [array_map(fn ($request) => $request->stream, $open), null];
            stream_select($read, $none, $none, 0, 100_000);
            foreach ($open as $index => $request) {
                if ($request->advance()) {
                    $answers[] = $request->ending();
                    unset($open[$index]);
                }
            }
        }
    }

    /**
     * @param list<FastCgiAnswer> $answers
     * @return list<int>
     */
    private static function pids(array $answers): array
    {
        return array_values(array_unique(array_map(fn ($answer) => $answer->told()['pid'], $answers)));
    }
}
