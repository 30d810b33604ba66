<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Events\TaskFailed;
use CeleryBridge\Events\TaskRevoked;
use CeleryBridge\Events\TaskSucceeded;
use CeleryBridge\Outcomes\Listener;
use CeleryBridge\Outcomes\Settlement;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Cache\ArrayStore;
use Illuminate\Database\Events\TransactionBeginning;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Events\JobProcessed;
use Illuminate\Queue\Events\JobProcessing;
use Illuminate\Support\Facades\Context;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Schema;
use RuntimeException;
use stdClass;

/**
 * What `celery:listen` makes of the ends of jobs, with a real Redis in which the test ends them.
 */
final class OutcomesTest extends TestCase
{
    private Broker $broker;

    protected function config(): array
    {
        return ['queue' => self::queueConfig()];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.connections.default.url' => $this->broker->url]);
        $this->command('migrate', ['--force' => true]);
        $this->createFailedJobsTable();
        $this->createTasksTable();
        DB::table('tasks')->insert(['name' => 'a']);
    }

    public function test_a_failure_calls_failed_and_is_in_failed_jobs_once(): void
    {
        Event::fake([TaskFailed::class, JobFailed::class]);
        $id = $this->dispatched();
        $this->assertSame('PENDING', $this->row($id)->state);

        $this->fails($id);
        $this->command('celery:listen', ['--once' => true]);
        $this->command('celery:listen', ['--once' => true]);

        $failed = DB::table('failed_jobs')->get();
        $this->assertCount(1, $failed);
        $this->assertSame([$id, 'celery', 'celery'], [$failed[0]->uuid, $failed[0]->connection, $failed[0]->queue]);
        $this->assertStringContainsString('ValueError: no such row', $failed[0]->exception);
        $this->assertStringContainsString('in the worker', $failed[0]->exception);
        $this->assertStringContainsString('no such row', DB::table('tasks')->value('message'));
        Event::assertDispatchedTimes(TaskFailed::class, 1);
        Event::assertDispatchedTimes(JobFailed::class, 1);
        $this->assertFalse($this->broker->hasResult($id));
        $this->assertNotNull($this->row($id)->settled_at);
    }

    public function test_failed_and_events_have_the_context_of_the_dispatch(): void
    {
        if (! class_exists(Context::class)) {
            $this->markTestSkipped('this Laravel has no Context');
        }
        $seen = [];
        Event::listen(JobFailed::class, static function () use (&$seen): void {
            $seen[] = Context::get('trace');
        });
        Event::listen(TaskFailed::class, static function () use (&$seen): void {
            $seen[] = Context::get('trace');
        });
        Context::add('trace', 'abc');
        $ids = [$this->dispatched()];
        Context::flush();
        $ids[] = $this->dispatched();
        array_map($this->fails(...), $ids);

        $this->command('celery:listen', ['--once' => true]);

        sort($seen);
        $this->assertSame([null, null, 'abc', 'abc'], $seen);
        $this->assertNull(Context::get('trace'));
    }

    public function test_queue_retry_posts_the_task_again(): void
    {
        $id = $this->dispatched();
        $this->fails($id);
        $this->command('celery:listen', ['--once' => true]);
        [, $list] = $this->command('queue:failed');
        $this->assertStringContainsString(TaskCreated::class, $list);
        $this->broker->flush();

        $this->command('queue:retry', ['id' => [$id]]);

        [$message] = $this->broker->messages('celery');
        $this->assertSame(['task_created', [1]], [$message->headers->task, $message->args]);
        $this->assertNotSame($id, $message->headers->id);
        $this->assertSame(0, DB::table('failed_jobs')->count());
        $this->assertSame('PENDING', $this->row($message->headers->id)->state);

        $this->fails($message->headers->id);
        $this->command('celery:listen', ['--once' => true]);
        $this->assertSame([$message->headers->id], DB::table('failed_jobs')->pluck('uuid')->all());
    }

    public function test_any_number_of_tasks_is_looked_up_in_parts(): void
    {
        $id = $this->dispatched();
        $most = 0;
        DB::listen(static function (object $query) use (&$most): void {
            $most = max($most, count($query->bindings));
        });
        // A database takes 65,535 values in one statement, or fewer.
        $ids = [...array_map(strval(...), range(1, 70_000)), $id];
        $this->assertSame([$id], $this->app->make(TrackedJobs::class)->openOf('default', $ids)->pluck('id')->all());
        $this->assertSame(501, $most);
    }

    public function test_a_success_raises_its_events(): void
    {
        Event::fake([TaskSucceeded::class, JobProcessed::class]);
        $id = $this->dispatched();
        $this->broker->finish($id, 'SUCCESS', 5);

        $this->command('celery:listen', ['--once' => true]);

        Event::assertDispatched(TaskSucceeded::class, static fn (TaskSucceeded $event): bool => $event->result === 5
            && $event->id === $id && $event->job->resolveName() === TaskCreated::class);
        Event::assertDispatchedTimes(JobProcessed::class, 1);
        $this->assertSame(0, DB::table('failed_jobs')->count());
    }

    public function test_each_end_is_announced_as_laravels_workers_do(): void
    {
        $seen = [];
        foreach ([JobProcessing::class, JobProcessed::class, JobFailed::class] as $event) {
            Event::listen($event, static function (object $event) use (&$seen): void {
                $seen[] = [$event::class, $event->connectionName, $event->job->uuid(), $event->job->getQueue(), $event->job->resolveName()];
            });
        }
        [$done, $failed, $revoked] = [$this->dispatched(), $this->dispatched(), $this->dispatched()];
        $this->broker->finish($done, 'SUCCESS', 5);
        $this->command('celery:listen', ['--once' => true]);
        $this->fails($failed);
        $this->command('celery:listen', ['--once' => true]);
        $this->broker->finish($revoked, 'REVOKED', $this->exception('TaskRevokedError', 'revoked', 'celery.exceptions'));
        $this->command('celery:listen', ['--once' => true]);

        $of = static fn (string $event, string $id): array => [$event, 'celery', $id, 'celery', TaskCreated::class];
        $this->assertSame([
            $of(JobProcessing::class, $done), $of(JobProcessed::class, $done),
            $of(JobProcessing::class, $failed), $of(JobFailed::class, $failed),
        ], $seen);
    }

    /** Pulse itself is not here: this is the one method of it that the listener calls. */
    public function test_pulse_stores_what_it_has_recorded(): void
    {
        $pulse = new class () {
            public int $stored = 0;

            public function ingest(): int
            {
                return $this->stored++;
            }
        };
        $this->command('celery:listen', ['--once' => true]);
        $this->app->instance('Laravel\Pulse\Pulse', $pulse);

        [$code] = $this->command('celery:listen', ['--once' => true]);

        $this->assertSame([0, 1], [$code, $pulse->stored]);
    }

    public function test_a_revoked_task_is_no_failure_but_an_expired_one_is(): void
    {
        Event::fake([TaskRevoked::class]);
        [$revoked, $expired] = [$this->dispatched(), $this->dispatched()];
        foreach ([$revoked => 'revoked', $expired => 'expired'] as $id => $reason) {
            $this->broker->finish((string) $id, 'REVOKED', $this->exception('TaskRevokedError', $reason, 'celery.exceptions'));
        }

        $this->command('celery:listen', ['--once' => true]);

        Event::assertDispatchedTimes(TaskRevoked::class, 2);
        $this->assertSame([$expired], DB::table('failed_jobs')->pluck('uuid')->all());
    }

    public function test_a_listener_that_died_is_taken_over_after_its_lease(): void
    {
        $jobs = $this->app->make(TrackedJobs::class);
        $id = $this->dispatched();
        $this->fails($id);
        $end = new \CeleryBridge\Outcomes\Outcome('FAILURE', null, 'ValueError', 'no such row');
        // Two listeners write the end; the first dies before it calls failed().
        $this->assertTrue($jobs->end($this->row($id), $end, -1.0));
        $this->assertFalse($jobs->end($this->row($id), $end, -1.0));
        $this->assertNull(DB::table('tasks')->value('message'));

        $this->listener()->read();
        $this->assertStringContainsString('no such row', DB::table('tasks')->value('message'));
        $this->assertSame(1, DB::table('failed_jobs')->count());
    }

    public function test_of_two_listeners_with_one_end_in_their_hands_one_writes_it(): void
    {
        Event::fake([TaskFailed::class]);
        $id = $this->dispatched();
        $this->fails($id);
        $other = $this->listener();
        $turns = 0;
        // The first listener has read the result and begins to write. The other one does all of it then.
        Event::listen(TransactionBeginning::class, static function () use ($other, &$turns): void {
            if (++$turns === 1) {
                $other->read();
            }
        });

        $this->listener()->read();

        $this->assertSame(2, $turns, 'each of them wrote an end');
        $this->assertSame([$id], DB::table('failed_jobs')->pluck('uuid')->all());
        Event::assertDispatchedTimes(TaskFailed::class, 1);
    }

    public function test_an_exception_of_failed_jobs_leaves_the_row_open(): void
    {
        $id = $this->dispatched();
        $this->fails($id);
        Schema::rename('failed_jobs', 'elsewhere');
        [$code] = $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(1, $code);
        $this->assertNull($this->row($id)->ended_at);

        Schema::rename('elsewhere', 'failed_jobs');
        $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(1, DB::table('failed_jobs')->count());
    }

    public function test_a_row_comes_and_goes_with_the_transaction_and_the_post(): void
    {
        try {
            DB::transaction(function (): void {
                $this->dispatched();

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }
        $this->assertSame(0, DB::table('celery_jobs')->count());

        config(['celery.connections.default.url' => 'redis://127.0.0.1:1']);
        $this->app->make(Factory::class)->forgetConnections();
        try {
            $this->dispatched();
            $this->fail('the post must fail');
        } catch (\CeleryConnectionException) {
        }
        $this->assertSame(0, DB::table('celery_jobs')->count());
    }

    public function test_jobs_are_not_tracked_without_the_table_or_if_switched_off(): void
    {
        config(['celery.track' => false]);
        $this->dispatched();
        $this->assertSame(0, DB::table('celery_jobs')->count());

        config(['celery.track' => null]);
        Schema::drop('celery_jobs');
        $this->app->instance(TrackedJobs::class, new TrackedJobs($this->app, $this->app->make('config')));
        $this->dispatched();
        [$code, $text] = $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('php artisan migrate', $text);
        $this->assertCount(2, $this->broker->messages('celery'));
    }

    public function test_the_listener_ends_as_laravels_workers_do_at_queue_restart(): void
    {
        if (! function_exists('pcntl_alarm')) {
            $this->markTestSkipped('this PHP has no signals');
        }
        $this->broker->finish($this->dispatched(), 'SUCCESS', 5);
        Event::listen(TaskSucceeded::class, function (): void {
            $this->app->make('cache')->store()->forever('illuminate:queue:restart', time());
        });
        $isLate = false;
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, static function () use (&$isLate): void {
            $isLate = true;
            posix_kill(getmypid(), SIGTERM);
        });
        pcntl_alarm(60);

        [$code, $output] = $this->command('celery:listen');
        pcntl_alarm(0);
        array_map(static fn (int $signal) => pcntl_signal($signal, SIG_DFL), [SIGALRM, SIGTERM, SIGINT]);

        $this->assertSame([0, false], [$code, $isLate]);
        $this->assertStringContainsString('queue:restart', $output);
    }

    public function test_a_cache_that_is_away_at_first_does_not_end_the_listener(): void
    {
        if (! function_exists('pcntl_alarm')) {
            $this->markTestSkipped('this PHP has no signals');
        }
        $store = new class extends ArrayStore {
            public bool $isAway = true;

            public function get($key)
            {
                return $this->isAway ? throw new RuntimeException('the cache is away') : parent::get($key);
            }
        };
        $store->forever('illuminate:queue:restart', time() - 3_600);
        $this->app->make('cache')->extend('away', fn () => $this->app->make('cache')->repository($store));
        config(['cache.default' => 'away', 'cache.stores.away' => ['driver' => 'away']]);
        $this->broker->finish($this->dispatched(), 'SUCCESS', 5);
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, static fn () => posix_kill(getmypid(), SIGTERM));
        Event::listen(TaskSucceeded::class, static function () use ($store): void {
            $store->isAway = false;
            // A few turns more.
            pcntl_alarm(3);
        });

        [$code, $output] = $this->command('celery:listen');
        pcntl_alarm(0);
        array_map(static fn (int $signal) => pcntl_signal($signal, SIG_DFL), [SIGALRM, SIGTERM, SIGINT]);

        $this->assertSame(0, $code);
        $this->assertFalse($store->isAway);
        $this->assertStringNotContainsString('queue:restart', $output);
    }

    public function test_the_doctor_says_whether_outcomes_arrive(): void
    {
        $checks = function (): array {
            [, $output] = $this->command('celery:doctor', ['--json' => true]);

            return array_column(json_decode($output, true)['checks'], null, 'check');
        };
        $this->assertTrue($checks()['outcomes']['ok']);
        $this->assertStringContainsString('was not seen', $checks()['default: listener']['detail']);
        $this->command('celery:listen', ['--once' => true]);
        $this->assertStringContainsString('celery:listen runs', $checks()['default: listener']['detail']);

        Schema::rename('failed_jobs', 'elsewhere');
        $this->assertFalse($checks()['outcomes']['ok']);
        $this->assertStringContainsString('queue:failed-table', $checks()['outcomes']['detail']);
        Schema::rename('elsewhere', 'failed_jobs');

        config(['celery.track' => false]);
        $this->assertStringContainsString('not tracked', $checks()['outcomes']['detail']);
        $this->assertArrayNotHasKey('default: listener', $checks());
    }

    public function test_a_running_process_notices_the_table_and_asks_in_each_database(): void
    {
        $jobs = $this->app->make(TrackedJobs::class);
        Schema::rename('celery_jobs', 'elsewhere');
        $this->assertFalse($jobs->exist());
        Schema::rename('elsewhere', 'celery_jobs');
        $this->assertFalse($jobs->exist(), 'not each dispatch asks');

        $this->travel(11)->seconds();
        $this->assertTrue($jobs->exist());
        $id = $this->dispatched();
        $this->assertSame('PENDING', $this->row($id)->state);

        // A tenant whose database has no such table.
        touch("{$this->sandbox->path}/database/tenant.sqlite");
        config(['database.connections.tenant' => ['database' => "{$this->sandbox->path}/database/tenant.sqlite"] + config('database.connections.sqlite')]);
        DB::setDefaultConnection('tenant');
        $this->assertFalse($jobs->exist());
        DB::setDefaultConnection('sqlite');
        $this->assertTrue($jobs->exist());
    }

    public function test_rows_of_jobs_that_ended_long_ago_are_deleted(): void
    {
        [$ended, $open] = [$this->dispatched(), $this->dispatched()];
        $this->broker->finish($ended, 'SUCCESS', 5);
        $this->command('celery:listen', ['--once' => true]);
        DB::table('celery_jobs')->where('id', $ended)->update(['ended_at' => microtime(true) - 3 * 86_400]);
        DB::table('celery_jobs')->where('id', $open)->update(['created_at' => 1.0]);

        $this->command('celery:listen', ['--once' => true, '--keep' => '4']);
        $this->assertSame(2, DB::table('celery_jobs')->count());

        $this->command('celery:listen', ['--once' => true, '--keep' => '2']);
        $this->assertSame([$open], DB::table('celery_jobs')->pluck('id')->all());
    }

    private function dispatched(): string
    {
        return (string) Queue::connection('celery')->push(new TaskCreated(1));
    }

    private function fails(string $id): void
    {
        $this->broker->finish($id, 'FAILURE', $this->exception('ValueError', 'no such row', 'builtins'), 'in the worker');
    }

    /**
     * @return array<string, mixed>
     */
    private function exception(string $type, string $message, string $module): array
    {
        return ['exc_type' => $type, 'exc_message' => [$message], 'exc_module' => $module];
    }

    private function row(string $id): stdClass
    {
        return DB::table('celery_jobs')->where('id', $id)->first() ?? throw new RuntimeException("{$id} is not tracked");
    }

    private function listener(): Listener
    {
        $transport = new ExtensionTransport($this->app->make(Factory::class)->settings());

        return new Listener(
            $transport->client(...),
            'default',
            $this->app->make(TrackedJobs::class),
            new Settlement($this->app),
        );
    }
}
