<?php

namespace CeleryTests\Interop;

use Celery\Client;
use CeleryTests\Background;
use CeleryTests\IntegrationTasks;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * The canvases of Celery's own integration suite, sent from PHP and run by Python's workers and ours.
 */
class IntegrationCanvasTest extends TestCase
{
    private const SOURCE = '/.venv/sources/celery-5.7.0.tar.gz';
    /** The workers, and the database of each. */
    private const DATABASES = ['ours' => 12, '5.7' => 11, '5.4' => 13, '5.2' => 14];
    /** The version whose suite the cases are, and its environment. */
    private const NEWEST = '5.7';
    private const ENVIRONMENTS = [self::NEWEST => 'celery-5.7-suite', '5.4' => 'celery-5.4', '5.2' => 'celery-5.2'];

    private static ?Background $worker = null;
    private static string $running = '';
    private static string $folder = '';

    public static function tearDownAfterClass(): void
    {
        self::$worker?->stop();
        self::$worker = null;
        self::$running = '';
        if (self::$folder !== '') {
            exec('rm -r ' . escapeshellarg(self::$folder));
            self::$folder = '';
        }
    }

    /**
     * Each case with each worker that has its tasks. `worker/suite/tests.toml` says which of them
     * our worker does not have yet.
     */
    public function cases(): iterable
    {
        $verdicts = self::verdicts();
        $cases = array_keys(require __DIR__ . '/canvas/cases.php');
        foreach (Programs::PYTHONS as $version) {
            foreach ($version === self::NEWEST ? $cases : array_diff($cases, self::otherwise()) as $case) {
                yield "Python $version $case" => [$version, $case];
            }
        }
        foreach ($cases as $case) {
            if (($verdicts[$case] ?? '') === 'runs') {
                yield "ours $case" => ['ours', $case];
            }
        }
    }

    /** @dataProvider cases */
    public function test_a_canvas(string $worker, string $case): void
    {
        if (self::$running !== $worker) {
            self::$worker?->stop();
            self::$worker = $worker === 'ours' ? self::ours() : self::python($worker);
            self::$running = $worker;
        }
        $url = Programs::redisUrl(self::DATABASES[$worker]);
        Programs::redis()->del('redis-echo', 'echo_chamber', 'echo_link_b', 'Done', 'count', 'link', 'errback');
        $cases = require __DIR__ . '/canvas/cases.php';
        $cases[$case](new IntegrationTasks(new Client($url, $url), self::DATABASES[$worker]));
        $this->addToAssertionCount(1);
    }

    /** Each test of the suite is a case, or canvas/README.md says why not. */
    public function test_the_list_is_complete(): void
    {
        $cases = array_keys(require __DIR__ . '/canvas/cases.php');
        preg_match_all('/^  \* `(\w+::\w+)`$/m', file_get_contents(__DIR__ . '/canvas/README.md'), $missing);
        $listed = [...$cases, ...$missing[1]];
        $tests = array_keys(self::verdicts());
        sort($listed);
        sort($tests);
        $this->assertSame($tests, $listed);
        $this->assertSame([], array_diff(self::otherwise(), $cases));
    }

    /** Starts a Python worker with the tasks of the newest suite. */
    private static function python(string $version): Background
    {
        $root = Programs::root();
        self::unpack();
        $path = ["$root/worker/suite", self::$folder];
        if ($version !== self::NEWEST) {
            $path[] = "$root/php-tests/interop/python/older";
        }
        $worker = new Background(
            [$root . '/.venv/' . self::ENVIRONMENTS[$version] . '/bin/python', '-m', 'celery', '-A', 'python_worker', 'worker', '-c', '2', '-l', 'INFO'],
            [
                'PYTHONPATH' => implode(PATH_SEPARATOR, $path),
                'PYTHONDONTWRITEBYTECODE' => '1',
                'REDIS_URL' => Programs::redisUrl(self::DATABASES[$version]),
            ],
            self::$folder
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /** Unpacks the tasks of Celery's suite, once. */
    private static function unpack(): void
    {
        if (self::$folder !== '') {
            return;
        }
        self::$folder = tempnam(sys_get_temp_dir(), 'suite');
        unlink(self::$folder);
        mkdir(self::$folder);
        $parts = ['celery-5.7.0/t/__init__.py', 'celery-5.7.0/t/integration'];
        exec(implode(' ', array_map(escapeshellarg(...), ['tar', '-xzf', Programs::root() . self::SOURCE, '-C', self::$folder, '--strip-components=1', ...$parts])), $_, $failed);
        self::assertSame(0, $failed, 'the sources of Celery: run make setup');
    }

    private static function ours(): Background
    {
        $url = Programs::redisUrl(self::DATABASES['ours']);
        $command = [Programs::path('examples/integration'), '-b', $url, '-c', '2', '-l', 'INFO'];
        // Python's tasks leave their traces in database 0.
        $worker = new Background($command, ['REDIS_URL' => Programs::redisUrl()]);
        $worker->waitForText(' ready.', 30);

        return $worker;
    }

    /**
     * Reads which cases the older workers run otherwise, from canvas/README.md.
     *
     * @return list<string>
     */
    private static function otherwise(): array
    {
        preg_match_all('/^  - `(\w+::\w+)`$/m', file_get_contents(__DIR__ . '/canvas/README.md'), $cases);

        return $cases[1];
    }

    /**
     * Reads the list of the suite's tests.
     *
     * @return array<string, string> `class::test` => its verdict
     */
    private static function verdicts(): array
    {
        $verdicts = [];
        $class = '';
        foreach (file(Programs::root() . '/worker/suite/tests.toml') as $line) {
            if (preg_match('/^\["test_canvas\.py::(\w+)"\]/', $line, $match)) {
                $class = $match[1];
            } elseif (str_starts_with($line, '[')) {
                $class = '';
            } elseif ($class !== '' && preg_match('/^(\w+) = "(.*)"/', $line, $match)) {
                $verdicts["$class::$match[1]"] = $match[2];
            }
        }

        return $verdicts;
    }
}
