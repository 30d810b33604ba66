<?php

namespace CeleryTests\Interop;

use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * kombu's transport options priority_steps and sep: if all programs have equal ones, no task of any
 * priority is left.
 */
class PrioritiesTest extends TestCase
{
    private const DB = 9;

    /**
     * @return array<string, array{list<int>, ?string}>
     */
    public function options(): array
    {
        return [
            'ten steps and a colon' => [range(0, 9), ':'],
            'two steps' => [[0, 9], null],
            'two steps and a colon' => [[0, 9], ':'],
            'one step' => [[0], '-'],
            'a long separator' => [[0, 2, 5], '::--'],
        ];
    }

    protected function setUp(): void
    {
        Programs::redis(self::DB)->flushDB();
    }

    /**
     * @param list<int> $steps
     * @dataProvider options
     */
    public function test_php_posts_and_python_works(array $steps, ?string $separator): void
    {
        $python = Programs::pythonWorker('5.7', self::DB, self::transport($steps, $separator));
        $client = new \CeleryAdvanced([
            'host' => Programs::redisUrl(self::DB),
            'priority_steps' => $steps,
            'sep' => $separator,
        ]);
        $results = [];
        foreach ([null, 0, 2, 3, 5, 9] as $priority) {
            $options = $priority === null ? [] : ['priority' => $priority];
            $results[] = $client->PostTask('proj.add', [$priority ?? 100, 0], true, 'celery', $options);
        }
        $done = array_map(fn ($result) => $result->get(30), $results);
        $python->stop();

        $this->assertSame([100, 0, 2, 3, 5, 9], $done);
        $this->assertSame([], $this->left());
    }

    /**
     * @param list<int> $steps
     * @dataProvider options
     */
    public function test_python_posts_and_ours_works(array $steps, ?string $separator): void
    {
        $options = ['--priority-steps', implode(',', $steps)];
        if ($separator !== null) {
            // A value that begins with a dash.
            $options[] = "--priority-sep=$separator";
        }
        $ours = Programs::playground($options, self::DB);
        $process = proc_open(
            [Programs::python('5.7'), 'priorities.py'],
            [1 => ['pipe', 'w']],
            $pipes,
            Programs::root() . '/php-tests/interop/python',
            Programs::pythonEnvironment(self::DB, self::transport($steps, $separator)) + getenv()
        );
        $output = stream_get_contents($pipes[1]);
        proc_close($process);
        $ours->stop();

        $this->assertSame('[0, 2, 5, 9]', trim($output), $ours->log());
        $this->assertSame([], $this->left());
    }

    /**
     * @param list<int> $steps
     * @return array<string, mixed>
     */
    private static function transport(array $steps, ?string $separator): array
    {
        return ['priority_steps' => $steps] + ($separator === null ? [] : ['sep' => $separator]);
    }

    /**
     * Returns the lists of the queue that still have messages.
     *
     * @return list<string>
     */
    private function left(): array
    {
        $redis = Programs::redis(self::DB);

        return array_values(array_filter(
            $redis->keys('celery*'),
            fn (string $key) => $redis->type($key) === \Redis::REDIS_LIST
        ));
    }
}
