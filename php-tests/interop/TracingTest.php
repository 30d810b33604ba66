<?php

namespace CeleryTests\Interop;

use Celery\Chain;
use Celery\Client;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * A trace begins in PHP and ends at the SQL statement of a task. A collector of OpenTelemetry gets
 * the spans of the worker.
 */
class TracingTest extends TestCase
{
    private const DB = 14;
    private const TASKS = <<<'TOML'
        [tasks."shop.note"]
        sql = "INSERT INTO notes VALUES (:word)"
        TOML;
    private static ?Background $worker = null;
    private static string $settings;
    private static string $database;

    public static function setUpBeforeClass(): void
    {
        [self::$settings, self::$database] = [tempnam('/tmp', 'tracing'), tempnam('/tmp', 'tracing')];
        file_put_contents(self::$settings, self::TASKS);
        (new \PDO('sqlite:' . self::$database))->exec('CREATE TABLE notes (word TEXT)');
        $options = ['--config', self::$settings, '--database', 'sqlite://' . self::$database];
        self::$worker = Programs::playground([...$options, '--otlp-endpoint', getenv('OTLP_URL')], self::DB);
    }

    public static function tearDownAfterClass(): void
    {
        self::$worker = null;
        array_map('unlink', glob(self::$database . '*'));
        unlink(self::$settings);
    }

    /** Waits until the collector has these spans of a trace, and returns them by their names. */
    private function spans(string $trace, string ...$names): array
    {
        $found = [];
        Wait::until("the spans of $trace", 30, function () use ($trace, $names, &$found): bool {
            $spans = json_decode(file_get_contents(getenv('OTLP_URL') . '/spans'), true);
            $found = array_column(array_filter($spans, fn (array $span) => $span['trace'] === $trace), null, 'name');

            return array_diff($names, array_keys($found)) === [];
        });

        return $found;
    }

    /** Asserts that one trace has the span of PHP's request, the run of the task and its statement. */
    private function assertTraced(string $trace, string $span): void
    {
        $spans = $this->spans($trace, 'run/shop.note', 'INSERT');
        $this->assertSame('CONSUMER', $spans['run/shop.note']['kind']);
        $this->assertSame($span, $spans['run/shop.note']['parent']);
        $this->assertSame($spans['run/shop.note']['id'], $spans['INSERT']['parent']);
        $this->assertSame('sqlite', $spans['INSERT']['attributes']['db.system']);
    }

    /** Returns the ids of a new trace and of a span in it. */
    private function ids(): array
    {
        return [bin2hex(random_bytes(16)), bin2hex(random_bytes(8))];
    }

    public function test_the_headers_of_a_client_put_all_its_tasks_into_a_trace(): void
    {
        [$trace, $span] = $this->ids();
        $client = new Client(Programs::redisUrl(self::DB), headers: fn () => ['traceparent' => "00-$trace-$span-01"]);
        $this->assertSame(1, $client->sendTask('shop.note', ['word'])->get(timeout: 30));
        $this->assertTraced($trace, $span);
    }

    public function test_the_message_of_a_post_names_its_trace(): void
    {
        [$trace, $span] = $this->ids();
        $port = (int) getenv('REDIS_PORT');
        $celery = new \Celery(getenv('REDIS_HOST'), null, null, self::DB, 'celery', 'celery', $port, 'redis');
        $result = $celery->PostTask('shop.note', ['word'], true, 'celery', ['traceparent' => "00-$trace-$span-01"]);
        $this->assertSame(1, $result->get(30));
        $this->assertTraced($trace, $span);
    }

    public function test_the_steps_of_a_chain_follow_each_other(): void
    {
        [$trace, $span] = $this->ids();
        $client = new Client(Programs::redisUrl(self::DB), headers: ['traceparent' => "00-$trace-$span-01"]);
        $chain = new Chain($client->signature('proj.add', [1, 2]), $client->signature('shop.note'));
        $this->assertSame(1, $client->send($chain)->get(timeout: 30));
        $spans = $this->spans($trace, 'run/proj.add', 'apply_async/shop.note', 'run/shop.note', 'INSERT');
        $this->assertSame($span, $spans['run/proj.add']['parent']);
        $this->assertSame($spans['run/proj.add']['id'], $spans['apply_async/shop.note']['parent']);
        $this->assertSame($spans['apply_async/shop.note']['id'], $spans['run/shop.note']['parent']);
        $this->assertSame($spans['run/shop.note']['id'], $spans['INSERT']['parent']);
    }
}
