<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use Celery\Client;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\ReadsContext;
use CeleryBridge\Tests\fixtures\jobs\TriesThrice;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryTests\Background;
use CeleryTests\Programs;
use Closure;
use DateTimeImmutable;
use Illuminate\Queue\Queue as LaravelQueue;
use Illuminate\Support\Facades\Context;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;
use RuntimeException;
use stdClass;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * What a worker in Rust does with the settings and the Context of a job.
 */
final class JobsOnRustWorkerTest extends TestCase
{
    private Broker $broker;

    private Background $worker;

    protected function config(): array
    {
        return ['queue' => self::queueConfig()];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.connections.default.url' => $this->broker->url]);
        try {
            $program = Programs::path('examples/playground');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $this->worker = new Background([$program, '-b', $this->broker->url, '--result-backend', $this->broker->url, '-l', 'info']);
        $this->worker->waitForText(' ready.', 60);
    }

    protected function tearDown(): void
    {
        LaravelQueue::createPayloadUsing(null);
        if (isset($this->worker)) {
            $this->worker->stop(60);
        }
        parent::tearDown();
    }

    public function test_a_job_is_tried_as_it_says_and_then_has_failed(): void
    {
        $this->command('migrate', ['--force' => true]);
        $this->createFailedJobsTable();
        $this->createTasksTable();
        $posts = $this->monitor();

        $before = microtime(true);
        $id = (string) Queue::connection('celery')->push(new TriesThrice('the job'));
        $this->assertSame('FAILURE', $this->endOf($id));
        $this->command('celery:listen', ['--once' => true]);

        $seen = array_map($posts, [0, 1, 2]);
        $this->assertSame([0, 1, 2], array_map(static fn (array $post): int => $post[1]->retries, $seen));
        foreach ([1 => 1.0, 2 => 2.0] as $retry => $wait) {
            [$time, $headers] = $seen[$retry];
            $eta = (float) (new DateTimeImmutable($headers->eta))->format('U.u');
            $this->assertSame([$id, 3, [1, 2]], [$headers->id, $headers->tries, $headers->backoff]);
            // The wait counts from the end of the run, which lies between the run's begin and the post.
            $this->assertGreaterThanOrEqual($before + $wait, $eta);
            $this->assertLessThanOrEqual($time + $wait, $eta);
            $before = $eta;
        }

        $failed = DB::table('failed_jobs')->get();
        $this->assertSame([$id], $failed->pluck('uuid')->all());
        $this->assertStringContainsString('ValueError: the job', $failed[0]->exception);
        $this->assertSame(3, json_decode($failed[0]->payload)->maxTries);
        $this->assertSame(['the job'], DB::table('tasks')->pluck('name')->all(), 'failed() ran once');
    }

    public function test_a_job_without_tries_is_tried_once(): void
    {
        $job = new TriesThrice('the job');
        $job->tries = 1;
        $id = (string) Queue::connection('celery')->push($job);

        $this->assertSame('FAILURE', $this->endOf($id));
        $this->assertStringNotContainsString('Retry in', $this->worker->log());
    }

    public function test_context_and_additions_go_to_the_task_and_to_what_it_sends(): void
    {
        LaravelQueue::createPayloadUsing(static fn (): array => ['tenant' => 7]);
        if (class_exists(Context::class)) {
            Context::add('trace', 'abc');
        }

        $read = Celery::result((string) Queue::connection('celery')->push(new ReadsContext(false)))->get(60);
        $sent = Celery::result((string) Queue::connection('celery')->push(new ReadsContext(true)))->get(60);

        $this->assertSame(7, $read->tenant);
        $this->assertEquals($read, Celery::result($sent)->get(60));
        if (class_exists(Context::class)) {
            $this->assertSame('abc', $read->context->trace);
        }
    }

    private function endOf(string $id): string
    {
        $result = (new Client($this->broker->url))->result($id);
        $result->get(60.0, propagate: false);

        return $result->state();
    }

    /**
     * Watches what is put into the queue. The returned closure has the message of a number, from 0,
     * as the time of its post and its headers.
     *
     * @return Closure(int): array{float, stdClass}
     */
    private function monitor(): Closure
    {
        $socket = stream_socket_client("tcp://{$this->broker->host}:{$this->broker->port}", $code, $message, 10.0);
        $this->assertNotFalse($socket, $message);
        stream_set_timeout($socket, 60);
        fwrite($socket, "MONITOR\r\n");
        $this->assertSame("+OK\r\n", fgets($socket));
        $seen = [];

        return static function (int $number) use ($socket, &$seen): array {
            $end = microtime(true) + 60;
            while (! isset($seen[$number])) {
                // The worker's other commands keep the lines coming.
                $line = fgets($socket);
                if ($line === false || microtime(true) > $end) {
                    throw new RuntimeException("the message {$number} was not posted in time");
                }
                if (preg_match('/^\+([0-9.]+) .*"[LR]PUSH" "celery" "(.*)"/i', $line, $parts) === 1) {
                    $seen[] = [(float) $parts[1], json_decode(stripcslashes($parts[2]), false, 512, JSON_THROW_ON_ERROR)->headers];
                }
            }

            return $seen[$number];
        };
    }
}
