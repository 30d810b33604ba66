<?php

namespace CeleryTests\Fpm;

use CeleryTests\FpmTestCase;
use CeleryTests\RedisServer;

/**
 * Many requests of every kind, with results on another Redis than the tasks. `CELERY_FPM_REQUESTS` is
 * their number.
 */
class SoakTest extends FpmTestCase
{
    private const CHILDREN = 2;
    /**
     * Kilobytes by which a process may grow after its first requests, however many requests follow.
     */
    private const GROWTH = 400;

    public function test_memory_and_connections_stay_the_same(): void
    {
        $requests = (int) (getenv('CELERY_FPM_REQUESTS') ?: 1000);
        $results = new RedisServer();
        self::prepare($results->client());
        $fpm = self::fpm(['www' => ['pm.max_children' => self::CHILDREN]], ['RESULTS_PORT' => (string) $results->port]);
        $servers = ['broker' => $this->redis, 'results' => $results->client()];

        $posted = $this->requests($fpm, 200);
        $first = $this->children($fpm);
        $connections = array_map(self::connections(...), $servers);
        $this->assertSame(['broker' => self::CHILDREN, 'results' => self::CHILDREN], array_map('count', $connections));

        $posted += $this->requests($fpm, $requests);
        $last = $this->children($fpm);
        $this->assertSame($connections, array_map(self::connections(...), $servers));
        $this->assertSame(array_keys($first), array_keys($last));
        foreach ($first as $pid => $before) {
            $grown = $last[$pid] - $before;
            fwrite(STDERR, "FPM child $pid: $before kB after 200 requests, $last[$pid] kB after $requests more\n");
            $this->assertLessThan(self::GROWTH, $grown, "the child $pid grew by $grown kB");
        }
        $this->assertSame($posted, $this->redis->lLen('celery'));
    }

    /**
     * Requests pages and returns the number of tasks that they posted.
     */
    private function requests(\CeleryTests\Fpm $fpm, int $count): int
    {
        $ends = ['exit', 'exception', 'fatal error', 'memory limit'];
        $posted = 0;
        for ($i = 0; $i < $count; ++$i) {
            // Both children are busy at a time, so that both get requests.
            $open = [];
            for ($child = 0; $child < self::CHILDREN && $i < $count; ++$child, ++$i) {
                [$page, $query, $posts] = match ($i % 10) {
                    7 => ['ends.php', ['by' => $ends[intdiv($i, 10) % 4], 'reads' => 1], 1],
                    8 => ['pipelined.php', ['name' => "task-$i"], 5],
                    9 => ['ends.php', ['by' => $ends[intdiv($i, 10) % 4]], 1],
                    default => ['works.php', [], 1],
                };
                $open[] = [$page, $fpm->begin($page, $query)];
                $posted += $posts;
            }
            --$i;
            foreach ($open as [$page, $request]) {
                $answer = $request->answer();
                if ($page === 'works.php') {
                    $this->assertSame(5, $answer->told()['read']);
                }
            }
        }

        return $posted;
    }

    /**
     * Returns the resident kilobytes of each child, by its process id.
     *
     * @return array<int, int>
     */
    private function children(\CeleryTests\Fpm $fpm): array
    {
        $resident = [];
        while (count($resident) < self::CHILDREN) {
            $open = array_map(fn () => $fpm->begin('memory.php'), range(1, self::CHILDREN));
            foreach ($open as $request) {
                $told = $request->answer()->told();
                $resident[$told['pid']] = $told['resident'];
            }
        }
        ksort($resident);

        return $resident;
    }
}
