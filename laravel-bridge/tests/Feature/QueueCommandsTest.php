<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Exceptions\ServedByCelery;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Queue\WorkerOptions;
use Illuminate\Support\Facades\Queue;

/**
 * Laravel's own commands for queues, on connections that Celery workers serve.
 */
final class QueueCommandsTest extends TestCase
{
    protected function config(): array
    {
        return ['celery' => [
            'default' => 'default',
            'connections' => [
                'default' => ['url' => getenv('REDIS_URL') ?: 'redis://127.0.0.1:1', 'queue' => 'tasks'],
                'reports' => ['url' => getenv('REDIS_URL') ?: 'redis://127.0.0.1:1', 'queue' => 'pdf'],
            ],
        ], 'queue' => ['default' => 'sync', 'connections' => [
            'sync' => ['driver' => 'sync'],
            'database' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90],
            'reports' => ['driver' => 'celery', 'connection' => 'reports'],
            'empty' => ['driver' => 'celery', 'queue' => null],
            'named' => ['driver' => 'celery', 'queue' => 'mine'],
            'broken' => ['driver' => 'celery', 'connection' => 'nowhere'],
        ], 'failed' => ['driver' => 'null']]];
    }

    /**
     * @dataProvider connections
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('connections')] // PHPUnit 12 reads no comments.
    public function test_clear_empties_the_queue_to_which_the_connection_posts(string $connection, string $queue): void
    {
        $broker = $this->broker();
        TaskCreated::dispatch(1)->onConnection($connection);
        $this->assertCount(1, $broker->messages($queue));
        $broker->redis()->lPush('default', 'of another program');

        [$code, $output] = $this->command('queue:clear', ['connection' => $connection, '--force' => true]);

        $this->assertSame(0, $code);
        $this->assertMatchesRegularExpression("/Cleared 1 jobs? from the \\[{$queue}\\] queue/", $output);
        $this->assertSame([], $broker->messages($queue));
        $this->assertSame(1, $broker->redis()->lLen('default'));
    }

    /**
     * @dataProvider connections
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('connections')] // PHPUnit 12 reads no comments.
    public function test_work_and_listen_end_with_the_right_command(string $connection, string $queue): void
    {
        // Without the refusal, `queue:work` would end by its limits, with exit code 0.
        foreach (['queue:work' => ['--max-time' => 1], 'queue:listen' => []] as $command => $options) {
            [$code, $output] = $this->command($command, ['connection' => $connection] + $options);
            $output = preg_replace('/\s+/', ' ', $output);

            $this->assertSame(1, $code, $command);
            $this->assertStringContainsString("celery-worker -Q {$queue}`", $output);
            $this->assertStringContainsString("worker -Q {$queue}`", $output);
        }

        [$code, $output] = $this->command('queue:work', ['connection' => $connection, '--queue' => 'a,b', '--once' => true]);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('celery-worker -Q a,b', preg_replace('/\s+/', ' ', $output));
    }

    /**
     * @return iterable<string, list<string>>
     */
    public static function connections(): iterable
    {
        yield 'the one without configuration' => ['celery', 'tasks'];
        yield 'of another Celery connection' => ['reports', 'pdf'];
        yield 'without a queue' => ['empty', 'tasks'];
        yield 'with a queue' => ['named', 'mine'];
    }

    public function test_the_default_connection_is_known_too(): void
    {
        config(['queue.default' => 'celery']);

        foreach (['queue:work' => ['--max-time' => 1], 'queue:listen' => []] as $command => $options) {
            [$code, $output] = $this->command($command, $options);
            $this->assertSame(1, $code);
            $this->assertStringContainsString('celery-worker -Q tasks', preg_replace('/\s+/', ' ', $output));
        }
    }

    public function test_nothing_is_reported_and_other_connections_are_worked(): void
    {
        $reports = [];
        $this->app->make(ExceptionHandler::class)->reportable(function (\Throwable $e) use (&$reports): bool {
            $reports[] = $e->getMessage();

            return false;
        });

        [$code] = $this->command('queue:work', ['connection' => 'sync', '--once' => true, '--sleep' => 0]);
        $this->assertSame(0, $code);
        $this->command('queue:work', ['connection' => 'celery', '--max-time' => 1]);
        $this->assertSame([], $reports);
    }

    public function test_a_worker_that_another_command_starts_ends(): void
    {
        $worker = $this->app->make('queue.worker');
        $options = new WorkerOptions();
        // Without the refusal, the loop ends because its time is over.
        $options->maxTime = 1;
        $options->sleep = 0;

        $this->expectException(ServedByCelery::class);
        $worker->setCache($this->app->make('cache.store'))->daemon('celery', 'tasks', $options);
    }

    public function test_a_broken_connection_does_not_stop_other_commands(): void
    {
        $this->assertNull(config('queue.connections.broken.queue'));
        [$code] = $this->command('queue:work', ['connection' => 'sync', '--once' => true, '--sleep' => 0]);
        $this->assertSame(0, $code);
    }

    public function test_a_queue_that_was_filled_in_follows_the_celery_connection(): void
    {
        Celery::fake();
        config(['celery.connections.default.queue' => 'changed']);

        TaskCreated::dispatch(1)->onConnection('celery');

        Celery::assertPostedOn('changed', 'task_created');
    }

    public function test_it_holds_under_config_cache(): void
    {
        // config:cache boots bootstrap/app.php.
        copy(dirname(__DIR__).'/fixtures/app/bootstrap.php', "{$this->sandbox->path}/bootstrap/app.php");
        [$code, $output] = $this->command('config:cache');
        $this->assertSame(0, $code, $output);

        $app = (new Sandbox(path: $this->sandbox->path))->boot();

        $this->assertTrue($app->configurationIsCached());
        $this->assertSame('pdf', $app->make('config')->get('queue.connections.reports.queue'));
        $this->assertSame('mine', $app->make('config')->get('queue.connections.named.queue'));
    }

    public function test_pause_refuses_queues_of_celery(): void
    {
        if (! class_exists(\Illuminate\Queue\Console\PauseCommand::class)) {
            $this->markTestSkipped('this Laravel has no `queue:pause` command');
        }

        [$code, $output] = $this->command('queue:pause', ['queue' => 'celery:ml']);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('control cancel_consumer ml', preg_replace('/\s+/', ' ', $output));

        [$code] = $this->command('queue:pause', ['queue' => 'database:default']);
        $this->assertSame(0, $code);
        $this->assertTrue(Queue::isPaused('database', 'default'));
    }
}
