<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use Celery\Client;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Events\TaskFailed;
use CeleryBridge\Exceptions\TaskFailed as TaskRaised;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Outcomes\Listener;
use CeleryBridge\Outcomes\Settlement;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Tests\fixtures\jobs\FailsOnWorker;
use CeleryBridge\Tests\fixtures\jobs\ReadsContext;
use CeleryBridge\Tests\fixtures\jobs\TriesThrice;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\ExtensionTransport;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * Tasks and jobs through a real RabbitMQ to a Python worker and to one in Rust, with the results in
 * Redis.
 */
final class RabbitMqTest extends TestCase
{
    /** The server of all tests. Each has its queues. */
    private static ?Background $rabbitMq = null;

    private string $url;

    protected function config(): array
    {
        return ['queue' => self::queueConfig()] + self::dashboardConfig();
    }

    protected function setUp(): void
    {
        parent::setUp();
        $results = $this->broker()->url;
        if (trim((string) shell_exec('command -v rabbitmq-server')) === '') {
            $this->markTestSkipped('rabbitmq-server is not installed');
        }
        try {
            $testkit = Programs::path('testkit');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        self::$rabbitMq ??= new Background([$testkit, 'up', 'rabbitmq', '--', 'sh', '-c', 'echo "at <$AMQP_URL>"; exec sleep 600']);
        self::$rabbitMq->waitForText('at <amqp', 120);
        preg_match('/at <(\S+)>/', self::$rabbitMq->log(), $found);
        $this->url = $found[1];
        config([
            'celery.connections.default' => ['url' => $this->url, 'result_backend' => $results, 'queue' => 'shop'],
            'queue.connections.celery.queue' => 'shop',
        ]);
    }

    public static function tearDownAfterClass(): void
    {
        self::$rabbitMq?->stop(60);
        self::$rabbitMq = null;
        parent::tearDownAfterClass();
    }

    public function test_tasks_jobs_and_the_doctor(): void
    {
        $this->command('migrate', ['--force' => true]);
        $this->createFailedJobsTable();
        $this->createTasksTable();
        Event::fake([TaskFailed::class]);
        // The first post creates the queue as Celery does.
        $result = Celery::post('proj.add', [2, 3]);
        $worker = $this->worker();
        $this->assertSame(5, $result->get(60));
        $this->assertSame(['a' => 3, 'b' => 7], Celery::group([
            'a' => Celery::task('proj.add', [1, 2]), 'b' => Celery::task('proj.add', [3, 4]),
        ])->post()->get(60));

        $settings = Celery::settings();
        $listener = new Listener(
            (new ExtensionTransport($settings))->client(...),
            'default',
            $this->app->make(TrackedJobs::class),
            new Settlement($this->app),
            600.0,
        );
        // Only events can end the job: the next reading of results is far away.
        $listener->turn();
        $id = (string) Queue::connection('celery')->push(new FailsOnWorker('alas'));
        $this->assertContains($this->app->make(TrackedJobs::class)->find('default', $id)?->state, ['PENDING', 'FAILURE']);
        Wait::until('the failure', 60, static function () use ($listener): bool {
            $listener->turn();

            return DB::table('failed_jobs')->exists();
        });
        $this->assertSame([$id], DB::table('failed_jobs')->pluck('uuid')->all());
        Event::assertDispatchedTimes(TaskFailed::class, 1);
        [$code, $output] = $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(0, $code, $output);
        [$code, $output] = $this->command('celery:doctor', ['--json' => true]);
        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString('"default: broker","ok":true', $output);
        [$code, $output] = $this->command('celery:status', ['--json' => true]);
        $this->assertSame([0, ['shop']], [$code, array_column(json_decode($output, true)['queues'], 'name')], $output);
        $worker->stop(60);
        Celery::post('proj.add', [1, 2]);
        $queue = Queue::connection('celery');
        $this->assertSame([1, 0], [$queue->size(), $queue->reservedSize()]);
        $this->command('queue:clear', ['connection' => 'celery', '--force' => true]);
        $this->assertSame(0, $queue->size());

        // Results as replies, which need no Redis.
        config(['celery.track' => false, 'celery.connections.default.result_backend' => 'rpc://', 'celery.connections.default.queue' => 'replies']);
        Celery::forgetConnections();
        $result = Celery::post('proj.add', [4, 5]);
        $worker = $this->worker('replies', ['RESULT_BACKEND' => 'rpc://']);
        $this->assertSame(9, $result->get(60));
        $this->assertSame([3, 7], Celery::group([Celery::task('proj.add', [1, 2]), Celery::task('proj.add', [3, 4])])->post()->get(60));
        $this->assertSame('FAILURE', $this->failed(Celery::post('proj.fail', ['alas'])));
        $worker->stop(60);

        $wrong = str_replace('://', '://shop:hunterhush@', (string) preg_replace('~://[^@]*@~', '://', $this->url));
        config(['celery.connections.default.url' => $wrong]);
        Celery::forgetConnections();
        [$code, $output] = $this->command('celery:doctor', ['--json' => true]);
        $this->assertSame(1, $code, $output);
        $this->assertStringContainsString('"default: broker","ok":false', $output);
        $this->assertStringNotContainsString('hunterhush', $output);
    }

    public function test_the_dashboard_and_the_commands(): void
    {
        $this->openDashboard();
        $worker = $this->worker();
        $id = Celery::post('proj.sleep', [600])->id();
        $read = fn (string $page): array => json_decode((string) $this->getJson("/celery{$page}")->assertOk()->getContent(), true);
        $state = Wait::until('the running task', 60, static function () use ($read): ?array {
            $state = $read('');

            return $state['running'] === [] ? null : $state;
        });
        $this->assertSame([null, null], [$state['error'], $state['queues_error']]);
        $this->assertSame([$id], array_column($state['running'], 'id'));
        $queues = array_column($state['queues'], null, 'name');
        $this->assertSame(['name' => 'shop', 'length' => 0, 'consumers' => 1], $queues['shop']);
        $this->assertSame(0, $state['dead']);

        // RabbitMQ does not list what waits, and says how many they are.
        Celery::post('proj.add', [1, 2], 'quiet');
        Celery::post('proj.add', [1, 2], 'quiet');
        $page = $read('/queue?queue=quiet');
        $this->assertSame([2, []], [$page['length'], $page['tasks']]);
        $this->assertStringContainsString('waitingTasks() is not supported with RabbitMQ', $page['error']);
        $html = (string) $this->get('/celery/queue?queue=quiet')->assertOk()->getContent();
        $this->assertStringContainsString('waitingTasks() is not supported with RabbitMQ', $html);
        $this->assertSame([null, 0, []], array_map(static fn (string $name): mixed => $read('/dead')[$name], ['error', 'total', 'letters']));

        $this->postJson('/celery/revoke', ['_token' => $this->token(), 'id' => $id])->assertOk();
        [$code, $output] = $this->command('celery:inspect', ['question' => 'revoked', '--json' => true]);
        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString($id, $output);
        [$code, $output] = $this->command('celery:purge', ['queues' => ['quiet'], '--force' => true]);
        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString('Deleted 2 waiting tasks', $output);
        $worker->signal(SIGKILL);
    }

    public function test_jobs_on_a_rust_worker(): void
    {
        config(['celery.connections.default.queue' => 'rust', 'queue.connections.celery.queue' => 'rust']);
        $this->command('migrate', ['--force' => true]);
        $this->createFailedJobsTable();
        $this->createTasksTable();
        $this->openDashboard();
        try {
            $program = Programs::path('examples/playground');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $results = (string) config('celery.connections.default.result_backend');
        $settings = ['--config', dirname(__DIR__, 2).'/support/rabbitmq.toml', '--result-backend', $results, '-c', '1', '-Q', 'rust', '-l', 'info'];
        $worker = new Background([$program, '-b', $this->url, ...$settings]);
        $worker->waitForText(' ready.', 60);
        $state = fn (string $id): ?string => $this->app->make(TrackedJobs::class)->find('default', $id)?->state;

        // Posts and their results, and a job that is tried as it says and then has failed.
        $this->assertSame(5, Celery::post('proj.add', [2, 3])->get(60));
        $job = new TriesThrice('the job');
        $job->backoff = [0];
        $failed = (string) Queue::connection('celery')->push($job);
        $read = (string) Queue::connection('celery')->push(new ReadsContext(false));
        Wait::until('both outcomes', 60, function () use ($state, $failed, $read): bool {
            $this->command('celery:listen', ['--once' => true]);

            return [$state($failed), $state($read)] === ['FAILURE', 'SUCCESS'];
        });
        $this->assertSame([$failed], DB::table('failed_jobs')->pluck('uuid')->all());
        $this->assertStringContainsString('ValueError: the job', (string) DB::table('failed_jobs')->value('exception'));
        $this->assertSame(['the job'], DB::table('tasks')->pluck('name')->all(), 'failed() ran once');
        $this->assertSame(2, substr_count($worker->log(), "[{$failed}] retry: "), $worker->log());

        // A task that runs is ended from the page, and one that waits behind it never begins.
        $running = Celery::post('proj.sleep', [600]);
        $stored = (new Client($this->url, $results))->result($running->id());
        $waiting = (string) Queue::connection('celery')->push(new ReadsContext(false));
        Wait::until('the start of the task', 60, static fn () => str_contains($worker->log(), "proj.sleep[{$running->id()}] received"));
        $this->command('celery:revoke', ['id' => [$waiting]]);
        $this->postJson('/celery/revoke', ['_token' => $this->token(), 'id' => $running->id(), 'terminate' => 1])->assertOk();
        Wait::until('both revocations', 60, function () use ($state, $waiting, $stored): bool {
            $this->command('celery:listen', ['--once' => true]);

            return [$state($waiting), $stored->state()] === ['REVOKED', 'REVOKED'];
        });

        // What the worker cannot run is a dead letter, which goes back from the page and by command.
        $id = Celery::post('proj.unknown', [1, 2])->id();
        $letters = function () use ($id): array {
            $found = json_decode((string) $this->getJson('/celery/dead')->assertOk()->getContent(), true);
            $this->assertNull($found['error']);
            $this->assertContains(array_column($found['letters'], 'id'), [[], [$id]]);

            return $found['letters'];
        };
        $letter = Wait::until('the dead letter', 60, static fn (): ?array => $letters()[0] ?? null);
        $this->assertSame(['proj.unknown', 'rust', 'not-registered'], [$letter['task'], $letter['queue'], $letter['cause']]);
        $this->getJson("/celery/dead/{$letter['place']}")->assertOk();
        $this->postJson('/celery/dead/replay', ['_token' => $this->token(), 'places' => [$letter['place']]])->assertOk();
        $again = Wait::until('its return', 60, static function () use ($letters, $letter): ?array {
            $now = $letters()[0] ?? null;

            return $now !== null && $now['place'] !== $letter['place'] ? $now : null;
        });
        $worker->stop(60);
        [$code, $output] = $this->command('celery:dead', ['--json' => true]);
        $this->assertSame([0, [$again]], [$code, json_decode($output, true)['letters']], $output);
        [$code, $output] = $this->command('celery:dead', ['--replay' => [$again['place']]]);
        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString('1 message was put back', $output);
        [$code, $output] = $this->command('celery:dead', ['--replay' => [$again['place']]]);
        $this->assertSame(1, $code, $output);
        $left = (new Client($this->url))->deadLetters()->newest();
        $this->assertSame([1, []], [Queue::connection('celery')->size(), $left]);
    }

    private function failed(Result $result): string
    {
        try {
            $result->get(60);

            return 'SUCCESS';
        } catch (TaskRaised $e) {
            $this->assertStringContainsString('alas', $e->getMessage());

            return $e->status;
        }
    }

    /** @param  array<string, string>  $environment */
    private function worker(string $queue = 'shop', array $environment = []): Background
    {
        try {
            $python = Programs::python('5.7');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $worker = new Background(
            [$python, '-m', 'celery', '-A', 'proj', 'worker', '-l', 'info', '-P', 'threads', '-c', '2', '-E', '-Q', $queue],
            $environment + [
                'BROKER_URL' => $this->url, 'REDIS_URL' => (string) getenv('REDIS_URL'), 'TRANSPORT_OPTIONS' => '{}',
                'PYTHONDONTWRITEBYTECODE' => '1', 'PYTHONUNBUFFERED' => '1',
            ],
            Programs::root().'/php-tests/interop/python',
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }
}
