<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Attributes\CeleryTask;
use CeleryBridge\Events\TaskPostFailed;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Jobs\CeleryTaskJob;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\fixtures\jobs\PlainJob;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\fixtures\jobs\TrainModel;
use CeleryBridge\Tests\Support\TestCase;
use Closure;
use DateTimeImmutable;
use Illuminate\Bus\Batchable;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Contracts\Queue\ShouldBeEncrypted;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Contracts\Queue\ShouldBeUniqueUntilProcessing;
use Illuminate\Queue\Events\JobQueued;
use Illuminate\Queue\Middleware\WithoutOverlapping;
use Illuminate\Support\Facades\Bus;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Schema;
use LogicException;
use RuntimeException;

/**
 * The queue connection `'driver' => 'celery'`.
 */
final class QueueDriverTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        $this->createTasksTable();
    }

    public function test_a_dispatched_job_is_posted_as_its_task(): void
    {
        Celery::fake();
        $begin = microtime(true);

        TrainModel::dispatch('mnist')->onConnection('celery')->onQueue('ml')->delay(60);
        TaskCreated::dispatch(7)->onConnection('celery');

        Celery::assertPostedOn('ml', 'ml.train', function (PostedTask $task) use ($begin): bool {
            $this->assertSame(['dataset' => 'mnist'], $task->args);
            $this->assertSame(5, $task->fields['tries']);
            $this->assertSame([1, 5], $task->fields['backoff']);
            $this->assertSame([30, null], $task->fields['timelimit']);
            $seconds = (float) (new DateTimeImmutable($task->fields['eta']))->format('U.u') - $begin;
            $this->assertGreaterThanOrEqual(59.999, $seconds);
            $this->assertLessThanOrEqual(60.001 + microtime(true) - $begin, $seconds);

            return true;
        });
        Celery::assertPostedOn('celery', 'task_created', fn (PostedTask $task): bool => $task->args === [7] && $task->fields === []);
    }

    public function test_a_job_may_name_its_connection_and_queue_itself(): void
    {
        Celery::fake();

        NamesItsConnection::dispatch(1);

        Celery::assertPostedOn('ml', NamesItsConnection::class, fn (PostedTask $task): bool => $task->fields === []);
        $this->assertSame(['celery', 'ml'], [Celery::posted()->sole()->job->connection, Celery::posted()->sole()->job->queue]);
    }

    public function test_pushing_gives_the_tasks_id(): void
    {
        Celery::fake();

        $id = Queue::connection('celery')->push(new TaskCreated(1));
        $this->assertSame(Celery::posted()->sole()->id, $id);
        $id = Queue::connection('celery')->laterOn('ml', 5, new TaskCreated(1));
        $this->assertSame(Celery::posted()->last()->id, $id);
        $id = Queue::connection('celery')->pushOn('ml', new TaskCreated(1));
        $this->assertSame(Celery::posted()->last()->id, $id);
    }

    public function test_every_way_to_dispatch_gives_the_tasks_id_also_where_tasks_wait_for_commits(): void
    {
        $fake = Celery::fake()->respectTransactions();
        $queue = Queue::connection('celery');
        $dispatch = [
            fn () => $queue->push(new TaskCreated(1)),
            fn () => $queue->pushOn('ml', new TaskCreated(1)),
            fn () => $queue->later(5, new TaskCreated(1)),
            fn () => Bus::dispatch((new TaskCreated(1))->onConnection('celery')),
            fn () => $this->app->make(Dispatcher::class)->dispatchToQueue((new TaskCreated(1))->onConnection('celery')),
        ];

        $ids = array_map(fn (Closure $way) => $way(), $dispatch);
        $this->assertSame($fake->posted()->pluck('id')->all(), $ids);

        $ids = [...$ids, ...DB::transaction(fn () => array_map(fn (Closure $way) => $way(), $dispatch))];
        $this->assertCount(10, $ids);
        $this->assertSame($fake->posted()->pluck('id')->all(), $ids, 'the ids are known before the commit');
    }

    public function test_the_connection_may_name_its_queue_and_celery_connection(): void
    {
        config(['celery.connections.second' => ['host' => 's', 'queue' => 'theirs']]);
        config(['queue.connections.here' => ['driver' => 'celery', 'connection' => 'second', 'queue' => 'mine']]);
        config(['queue.connections.there' => ['driver' => 'celery', 'connection' => 'second']]);
        Celery::fake();

        TaskCreated::dispatch(1)->onConnection('here');
        TaskCreated::dispatch(1)->onConnection('there');
        TaskCreated::dispatch(1)->onConnection('there')->onQueue('other');

        $this->assertSame(['mine', 'theirs', 'other'], Celery::posted()->pluck('queue')->all());
        $this->assertSame(['second'], Celery::posted()->pluck('connection')->unique()->all());
    }

    public function test_laravels_job_queued_is_raised(): void
    {
        Celery::fake();
        $event = null;
        Event::listen(JobQueued::class, function (JobQueued $queued) use (&$event): void {
            $event = $queued;
        });
        $job = new TaskCreated(1);

        Queue::connection('celery')->push($job);

        $this->assertNotNull($event);
        $this->assertSame('celery', $event->connectionName);
        $this->assertSame(Celery::posted()->sole()->id, $event->id);
        $this->assertSame($job, $event->job);
    }

    public function test_what_no_celery_worker_could_run_is_refused(): void
    {
        Celery::fake();
        $queue = Queue::connection('celery');

        $this->assertRefused('PlainJob] cannot run on Celery: it names no Celery task', fn () => PlainJob::dispatch()->onConnection('celery'));
        $this->assertRefused('names no Celery task', fn () => $queue->push('App\Jobs\Old@handle', ['x']));
        $this->assertRefused('names no Celery task', fn () => $queue->push(fn () => 1));
        $this->assertRefused('PHP workers understand', fn () => $queue->pushRaw('{}'));
        $this->assertRefused('begins a chain', fn () => Bus::chain([new TaskCreated(1), new PlainJob()])->onConnection('celery')->dispatch());
        $this->assertRefused('belongs to a batch', fn () => $queue->push((new InABatch(1))->withBatchId('b')));
        $this->assertRefused('encrypted', fn () => $queue->push(new Encrypted(1)));
        $this->assertRefused('names no Celery task', fn () => $queue->bulk([new TaskCreated(1), new PlainJob()]));

        Celery::assertNothingPosted();
    }

    /**
     * @dataProvider unfit
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('unfit')] // PHPUnit 12 reads no comments.
    public function test_settings_that_no_celery_worker_keeps_are_refused(Closure $job, string $reason): void
    {
        Celery::fake();
        $queue = Queue::connection('celery');

        foreach ([
            fn () => $queue->push($job()),
            fn () => $queue->later(5, $job()),
            fn () => $queue->bulk([new TaskCreated(1), $job()]),
            fn () => dispatch($job())->onConnection('celery'),
        ] as $way) {
            $this->assertRefused($reason, $way);
        }
        Celery::assertNothingPosted();
    }

    /**
     * @return iterable<string, array{Closure(): object, string}>
     */
    public static function unfit(): iterable
    {
        yield 'middleware by a method' => [fn () => new WithMiddleware(1), 'it has the middleware Illuminate\Queue\Middleware\WithoutOverlapping, which only a PHP worker runs'];
        yield 'middleware by through()' => [fn () => (new TaskCreated(1))->through([new WithoutOverlapping('x'), 'App\Throttle']), 'WithoutOverlapping, App\Throttle'];
        yield 'an exception limit' => [fn () => new StopsAfterExceptions(1), 'a Celery worker does not count exceptions'];
        yield 'unique until its processing' => [fn () => new UniqueUntilItBegins(1), 'nothing here sees when a Celery worker begins it'];
        yield 'encrypted by a property' => [fn () => new EncryptedByProperty(1), 'cannot decrypt it'];
        yield 'unique without an end' => [fn () => new UniqueForEver(1), 'unique without an end'];
    }

    public function test_settings_that_hold_are_in_the_message(): void
    {
        Celery::fake();
        $until = time() + 600;

        Queue::connection('celery')->push(new TriesUntil(1, new DateTimeImmutable("@{$until}")));
        Queue::connection('celery')->push(new TriesUntil(2, $until));
        Queue::connection('celery')->push(new TimesOut(3, 30));
        Queue::connection('celery')->push(new TimesOut(4, 0));

        $expires = gmdate('Y-m-d\TH:i:s', $until).'.000000+00:00';
        $this->assertSame(
            [['tries' => 0, 'expires' => $expires], ['tries' => 0, 'expires' => $expires], ['timelimit' => [30, null]], []],
            Celery::posted()->pluck('fields')->all(),
        );
    }

    /**
     * @dataProvider waits
     *
     * @param  list<int>|null  $sent
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('waits')] // PHPUnit 12 reads no comments.
    public function test_the_waits_before_retries_are_sent_as_seconds(mixed $backoff, ?array $sent): void
    {
        Celery::fake();
        $job = new Waits(1);
        $job->backoff = $backoff;

        Queue::connection('celery')->push($job);

        Celery::assertPosted('task_created', static fn (PostedTask $task): bool => ($task->fields['backoff'] ?? null) === $sent);
    }

    /**
     * @return iterable<string, array{mixed, list<int>|null}>
     */
    public static function waits(): iterable
    {
        yield 'one' => [7, [7]];
        yield 'zero' => [0, [0]];
        yield 'a list' => [[1, '5', 10], [1, 5, 10]];
        yield 'text' => ['1,5', [1, 5]];
        yield 'less than nothing' => [[-1, 2], [0, 2]];
        yield 'none' => [null, null];
    }

    public function test_bulk_posts_all(): void
    {
        Celery::fake();

        Queue::connection('celery')->bulk([new TaskCreated(1), (new TaskCreated(2))->delay(60), new TrainModel('x')], '', 'ml');

        $this->assertSame(['task_created', 'task_created', 'ml.train'], Celery::posted()->pluck('name')->all());
        $this->assertSame(['ml'], Celery::posted()->pluck('queue')->unique()->all());
        $this->assertSame([false, true, false], Celery::posted()->map(fn ($task) => isset($task->fields['eta']))->all());
    }

    public function test_bulk_waits_for_the_commit_and_tells_of_each(): void
    {
        $fake = Celery::fake()->respectTransactions();
        $queued = [];
        Event::listen(JobQueued::class, function (JobQueued $event) use (&$queued): void {
            $queued[] = [$event->job->id, $event->id];
        });

        DB::transaction(function () use ($fake): void {
            Queue::connection('celery')->bulk([
                new TaskCreated(1),
                (new TaskCreated(2))->beforeCommit(),
                new TaskCreated(3),
            ]);
            $fake->assertCount(1);
        });

        $this->assertSame([[2], [1], [3]], $fake->posted()->pluck('args')->all());
        $this->assertSame(
            $fake->posted()->map(fn (PostedTask $task): array => [$task->args[0], $task->id])->all(),
            $queued,
        );
    }

    public function test_a_bulk_that_fails_marks_every_row(): void
    {
        Celery::fake()->failPosting(new RuntimeException('broker down'));
        $jobs = [];
        foreach (['celery', 'ml'] as $name) {
            $jobs[] = new TaskCreated(DB::table('tasks')->insertGetId(['name' => $name]));
        }
        // Another queue needs a round trip of its own, which is not attempted.
        $jobs[] = new TrainModel('x');

        $this->assertThrown('broker down', fn () => Queue::connection('celery')->bulk($jobs));
        $this->assertSame(['failed', 'failed'], DB::table('tasks')->pluck('status')->all());
    }

    public function test_the_job_s_own_celery_connection_says_whether_it_waits_for_the_commit(): void
    {
        config(['celery.connections.second' => ['host' => 's', 'after_commit' => false]]);
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            OnTheSecondConnection::dispatch(1)->onConnection('celery');
            $fake->assertCount(1);
            TaskCreated::dispatch(1)->onConnection('celery');
            $fake->assertCount(1);
        });
        $this->assertSame(['second', 'default'], $fake->posted()->pluck('connection')->all());
    }

    public function test_a_unique_job_that_was_not_posted_can_be_dispatched_again(): void
    {
        $fake = Celery::fake()->failPosting(new RuntimeException('broker down'));

        $this->assertThrown('broker down', fn () => UniqueForAMinute::dispatch(1)->onConnection('celery'));
        $fake->failPosting(null);
        UniqueForAMinute::dispatch(1)->onConnection('celery');
        UniqueForAMinute::dispatch(1)->onConnection('celery');

        $fake->assertCount(1);
    }

    public function test_a_unique_job_of_a_rolled_back_transaction_can_be_dispatched_again(): void
    {
        if (! method_exists($this->app->make('db.transactions'), 'addCallbackForRollback')) {
            $this->markTestSkipped('this Laravel has no callbacks for rollbacks: it keeps the lock, also on its own queues');
        }
        $fake = Celery::fake()->respectTransactions();

        DB::beginTransaction();
        UniqueForAMinute::dispatch(1)->onConnection('celery');
        DB::rollBack();
        $fake->assertNothingPosted();
        UniqueForAMinute::dispatch(1)->onConnection('celery');
        UniqueForAMinute::dispatch(1)->onConnection('celery');

        $fake->assertCount(1);
    }

    public function test_a_job_that_was_pushed_directly_releases_no_lock_of_another(): void
    {
        if (! property_exists(UniqueForAMinute::class, 'uniqueLockOwner')) {
            $this->markTestSkipped('this Laravel does not note which dispatch took a lock');
        }
        $fake = Celery::fake();
        UniqueForAMinute::dispatch(1)->onConnection('celery');
        $fake->failPosting(new RuntimeException('broker down'));
        $this->assertThrown('broker down', fn () => Queue::connection('celery')->push(new UniqueForAMinute(1)));
        $fake->failPosting(null);

        UniqueForAMinute::dispatch(1)->onConnection('celery');

        $fake->assertCount(1);
    }

    public function test_a_job_that_would_be_unique_for_ever_is_refused(): void
    {
        $fake = Celery::fake();

        foreach ([1, 2] as $_again) {
            $this->assertRefused('unique without an end', fn () => UniqueForEver::dispatch(1)->onConnection('celery'));
        }
        $fake->assertNothingPosted();
    }

    public function test_pop_explains(): void
    {
        $this->expectException(LogicException::class);
        $this->expectExceptionMessage('The queue connection [celery] can only be posted to');
        $this->expectExceptionMessage('celery-worker -Q ml');
        Queue::connection('celery')->pop('ml');
    }

    public function test_after_commit_holds_for_dispatched_jobs(): void
    {
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            TaskCreated::dispatch(1)->onConnection('celery');
            TaskCreated::dispatch(2)->onConnection('celery')->beforeCommit();
            $fake->assertCount(1);
        });
        $this->assertSame([[2], [1]], $fake->posted()->pluck('args')->all());

        try {
            DB::transaction(function (): void {
                TaskCreated::dispatch(3)->onConnection('celery');

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }
        $fake->assertCount(2);
    }

    public function test_the_queue_connection_may_say_otherwise(): void
    {
        config(['queue.connections.now' => ['driver' => 'celery', 'after_commit' => false]]);
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            TaskCreated::dispatch(1)->onConnection('now');
            $fake->assertCount(1);
            TaskCreated::dispatch(2)->onConnection('now')->afterCommit();
            $fake->assertCount(1);
        });
        $fake->assertCount(2);
    }

    public function test_a_job_that_cannot_be_posted_throws_and_marks_its_row(): void
    {
        $fake = Celery::fake()->failPosting(new RuntimeException('broker down'));
        $id = DB::table('tasks')->insertGetId(['name' => 'x']);

        $this->assertThrown('broker down', fn () => TaskCreated::dispatch($id)->onConnection('celery'));
        $this->assertSame('failed', DB::table('tasks')->value('status'));

        DB::table('tasks')->delete();
        $fake->respectTransactions();
        $this->assertThrown('broker down', fn () => DB::transaction(
            fn () => TaskCreated::dispatch(DB::table('tasks')->insertGetId(['name' => 'x']))->onConnection('celery'),
        ));
        $this->assertSame('failed', DB::table('tasks')->value('status'), 'the row is committed, and says what became of it');
    }

    public function test_a_failed_method_that_fails_does_not_hide_the_reason(): void
    {
        Celery::fake()->failPosting(new RuntimeException('broker down'));
        Schema::drop('tasks');

        $this->assertThrown('broker down', fn () => TaskCreated::dispatch(1)->onConnection('celery'));
    }

    public function test_where_another_connection_takes_over_failed_is_not_called(): void
    {
        config(['queue.connections.first' => ['driver' => 'celery', 'call_failed' => false]]);
        Celery::fake()->failPosting(new RuntimeException('broker down'));
        $id = DB::table('tasks')->insertGetId(['name' => 'x', 'status' => 'pending']);

        $this->assertThrown('broker down', fn () => TaskCreated::dispatch($id)->onConnection('first'));
        $this->assertSame('pending', DB::table('tasks')->value('status'));
    }

    public function test_inside_a_failover_connection_the_next_one_takes_over(): void
    {
        if (! class_exists(\Illuminate\Queue\FailoverQueue::class)) {
            $this->markTestSkipped('this Laravel has no failover connections');
        }
        config(['queue.connections.first' => ['driver' => 'celery', 'call_failed' => false]]);
        config(['celery.connections.second' => ['host' => 's']]);
        config(['queue.connections.second' => ['driver' => 'celery', 'connection' => 'second']]);
        config(['queue.connections.both' => ['driver' => 'failover', 'connections' => ['first', 'second']]]);
        $fake = Celery::fake();
        Event::listen(TaskPostFailed::class, fn () => $fake->failPosting(null));
        $fake->failPosting(new RuntimeException('broker down'));

        TaskCreated::dispatch(1)->onConnection('both');

        $this->assertSame('second', $fake->posted()->sole()->connection);
    }

    public function test_attributes_of_newer_laravels_count(): void
    {
        if (! class_exists(\Illuminate\Queue\Attributes\Tries::class)) {
            $this->markTestSkipped('this Laravel has no attributes for jobs');
        }
        Celery::fake();

        SaysByAttributes::dispatch(1)->onConnection('celery');

        Celery::assertPosted('task_created', fn (PostedTask $task): bool => $task->fields === [
            'tries' => 4, 'timelimit' => [9, null],
        ]);
    }

    public function test_it_has_every_method_of_every_version_of_the_contract(): void
    {
        $queue = Queue::connection('celery');

        foreach (get_class_methods(QueueContract::class) as $method) {
            $this->assertTrue(method_exists($queue, $method), $method);
        }
        foreach (['pendingSize', 'delayedSize', 'reservedSize', 'creationTimeOfOldestPendingJob'] as $method) {
            $this->assertTrue(method_exists($queue, $method), $method);
        }
        $this->assertSame(0, $queue->delayedSize());
        $this->assertNull($queue->creationTimeOfOldestPendingJob());
    }

    private function assertRefused(string $message, Closure $push): void
    {
        try {
            $push();
        } catch (JobCannotRunOnCelery $e) {
            $this->assertStringContainsString($message, $e->getMessage());

            return;
        }

        $this->fail("nothing was refused, expected: {$message}");
    }

    private function assertThrown(string $message, Closure $call): void
    {
        try {
            $call();
        } catch (RuntimeException $e) {
            $this->assertSame($message, $e->getMessage());

            return;
        }

        $this->fail("nothing was thrown, expected: {$message}");
    }
}

#[CeleryTask('task_created', connection: 'second')]
final class OnTheSecondConnection extends TaskCreated
{
}

final class NamesItsConnection extends TaskCreated
{
    /** @var string */
    public $connection = 'celery';

    /** @var string */
    public $queue = 'ml';
}

final class UniqueForAMinute extends TaskCreated implements ShouldBeUnique
{
    public int $uniqueFor = 60;
}

final class WithMiddleware extends TaskCreated
{
    /**
     * @return list<object>
     */
    public function middleware(): array
    {
        return [new WithoutOverlapping('x')];
    }
}

final class StopsAfterExceptions extends TaskCreated
{
    public int $maxExceptions = 2;
}

final class UniqueUntilItBegins extends TaskCreated implements ShouldBeUniqueUntilProcessing
{
    public int $uniqueFor = 60;
}

final class EncryptedByProperty extends TaskCreated
{
    public bool $shouldBeEncrypted = true;
}

#[CeleryTask('task_created')]
final class TriesUntil extends CeleryTaskJob
{
    public function __construct(public int $id, private readonly DateTimeImmutable|int $until)
    {
    }

    public function retryUntil(): DateTimeImmutable|int
    {
        return $this->until;
    }

    /**
     * @return list<int>
     */
    public function celeryArguments(): array
    {
        return [$this->id];
    }
}

final class Waits extends TaskCreated
{
    public mixed $backoff = null;
}

#[CeleryTask('task_created')]
final class TimesOut extends CeleryTaskJob
{
    public function __construct(public int $id, public int $timeout)
    {
    }
}

final class UniqueForEver extends TaskCreated implements ShouldBeUnique
{
}

final class InABatch extends TaskCreated
{
    use Batchable;
}

final class Encrypted extends TaskCreated implements ShouldBeEncrypted
{
}

#[\Illuminate\Queue\Attributes\Tries(4)]
#[\Illuminate\Queue\Attributes\Timeout(9)]
final class SaysByAttributes extends TaskCreated
{
}
