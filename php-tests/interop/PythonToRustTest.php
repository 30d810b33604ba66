<?php

namespace CeleryTests\Interop;

use CeleryTests\Background;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * Our worker runs the tasks that Python Celery posts, and Python reads the results.
 */
class PythonToRustTest extends TestCase
{
    private static ?Background $worker = null;
    private static ?Background $compressing = null;
    /** @var array<string, array<string, mixed>> the answers to each version's client */
    private static array $answers = [];

    private const DB = 5;
    private const DB_COMPRESSED = 11;
    /** Celery reads compressed results from 5.7 on, without a setting. */
    private const COMPRESSED = '5.7 with compressed results';

    public static function setUpBeforeClass(): void
    {
        self::$worker = Programs::playground([], self::DB);
        // Another test has left results in this database.
        Programs::redis(self::DB_COMPRESSED)->flushDB();
        self::$compressing = Programs::playground(['--result-compression', 'gzip'], self::DB_COMPRESSED);
    }

    public static function tearDownAfterClass(): void
    {
        self::$worker = self::$compressing = null;
    }

    public function versions(): array
    {
        $versions = [...Programs::PYTHONS, self::COMPRESSED];

        return array_combine($versions, array_map(fn ($version) => [$version], $versions));
    }

    /**
     * Returns the answers to every check of client.py, asked once for each version.
     */
    private function answers(string $version): array
    {
        if (!isset(self::$answers[$version])) {
            $folder = Programs::root() . '/php-tests/interop/python';
            $command = [Programs::python(strtok($version, ' ')), 'client.py'];
            $db = $version === self::COMPRESSED ? self::DB_COMPRESSED : self::DB;
            $environment = ['REDIS_URL' => Programs::redisUrl($db), 'PYTHONDONTWRITEBYTECODE' => '1'];
            $process = proc_open($command, [1 => ['pipe', 'w']], $pipes, $folder, $environment + getenv());
            $output = stream_get_contents($pipes[1]);
            proc_close($process);
            self::$answers[$version] = json_decode($output, true, 512, JSON_THROW_ON_ERROR);
        }

        return self::$answers[$version];
    }

    /** @dataProvider versions */
    public function test_results_of_simple_tasks(string $version): void
    {
        $answers = $this->answers($version);
        $this->assertSame(5, $answers['add']);
        $this->assertSame(42, $answers['keywords']);
        $this->assertSame(6, $answers['xsum']);
        $this->assertSame(8, $answers['priority']);
        $this->assertSame(10, $answers['zlib']);
        $this->assertSame(2, $answers['countdown']);
        $this->assertSame(array_sum(range(0, 199)), $answers['many']);
    }

    /** @dataProvider versions */
    public function test_values_of_all_kinds_come_back(string $version): void
    {
        $expected = ['args' => ['žluťoučký 🎉', null, 0.5, [1, ['a' => []]]], 'kwargs' => ['key' => 'value']];
        $this->assertSame($expected, $this->answers($version)['echo']);
    }

    /** @dataProvider versions */
    public function test_a_failure_is_raised_in_python(string $version): void
    {
        $answer = $this->answers($version)['fail'];
        $this->assertSame('FAILURE', $answer['state'] ?? json_encode($answer));
        $this->assertSame('ValueError', $answer['type']);
        $this->assertSame('alas', $answer['message']);
        $this->assertStringContainsString('alas', $answer['traceback']);
    }

    /** @dataProvider versions */
    public function test_retries_end_in_the_last_error(string $version): void
    {
        $answer = $this->answers($version)['retrying'];
        $this->assertSame('FAILURE', $answer['state'] ?? json_encode($answer));
        $this->assertSame('OSError', $answer['type']);
    }

    /** @dataProvider versions */
    public function test_progress_is_seen_before_the_result(string $version): void
    {
        $answer = $this->answers($version)['custom_state'];
        $this->assertContains('PROGRESS', $answer['states'] ?? [json_encode($answer)]);
        $this->assertContains('SUCCESS', $answer['states']);
    }

    /** @dataProvider versions */
    public function test_an_expired_task_is_revoked(string $version): void
    {
        $this->assertSame('REVOKED', $this->answers($version)['expired']);
    }

    /** @dataProvider versions */
    public function test_an_unknown_task_fails_by_name(string $version): void
    {
        $answer = $this->answers($version)['unknown'];
        $this->assertSame('FAILURE', $answer['state'] ?? json_encode($answer));
        $this->assertSame('NotRegistered', $answer['type']);
    }

    public function test_results_are_compressed_where_the_setting_says_so(): void
    {
        $this->answers(self::COMPRESSED);
        $redis = Programs::redis(self::DB_COMPRESSED);
        $keys = $redis->keys('celery-task-meta-*');
        $this->assertGreaterThan(200, count($keys));
        foreach ($keys as $key) {
            $this->assertStringStartsWith("\0celery-compressed\0application/x-gzip\0", $redis->get($key));
        }
        $client = new \Celery\Client(Programs::redisUrl(self::DB_COMPRESSED));
        $this->assertSame(7, $client->sendTask('proj.add', [3, 4])->get(30));
    }
}
