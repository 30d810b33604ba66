<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\CeleryManager;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\ShouldRunOnCelery;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Jobs\AbstractCeleryTaskJob;
use CeleryBridge\PendingTask;
use CeleryBridge\Testing\FakeState;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\fixtures\jobs\PlainJob;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\fixtures\jobs\TrainModel;
use CeleryBridge\Tests\Support\TestCase;
use Closure;
use DomainException;
use Illuminate\Support\Facades\Queue;
use PHPUnit\Framework\AssertionFailedError;
use RuntimeException;

final class FakeTest extends TestCase
{
    public function test_it_records_what_is_posted_by_every_way(): void
    {
        Celery::fake();

        Celery::post('proj.add', [2, 3]);
        $this->app->make(Client::class)->post('proj.add', ['x' => 2], 'ml');
        $this->app->make(Factory::class)->connection()->task('proj.mul', [4])->onQueue('ml')->post();

        Celery::assertCount(3);
        Celery::assertPosted('proj.add');
        Celery::assertPosted('proj.add', 2);
        Celery::assertPosted('proj.add', fn (PostedTask $task): bool => $task->args === [2, 3]);
        Celery::assertPosted(fn (PostedTask $task): bool => $task->name === 'proj.mul' && $task->connection === 'default');
        Celery::assertPostedOn('celery', 'proj.add');
        Celery::assertPostedOn('ml', 'proj.add', fn (PostedTask $task): bool => $task->args === ['x' => 2]);
        Celery::assertNotPosted('proj.sub');
        Celery::assertNotPosted('proj.add', fn (PostedTask $task): bool => $task->args === []);

        $this->assertSame(['proj.add', 'proj.add', 'proj.mul'], Celery::posted()->pluck('name')->all());
        $this->assertCount(2, Celery::posted('proj.add'));
        $this->assertCount(2, Celery::posted(fn (PostedTask $task): bool => $task->queue === 'ml'));
        $this->assertCount(1, Celery::posted('proj.add', fn (PostedTask $task): bool => $task->queue === 'ml'));
    }

    public function test_each_assertion_can_fail_and_says_what_was_posted(): void
    {
        Celery::fake();
        Celery::assertNothingPosted();
        Celery::post('proj.add', [1]);

        $this->assertFails(fn () => Celery::assertPosted('proj.sub'), '[proj.sub] was not posted. Posted: proj.add on celery.');
        $this->assertFails(fn () => Celery::assertPosted('proj.add', 2), 'posted 1 times instead of 2');
        $this->assertFails(fn () => Celery::assertPosted('proj.add', fn (): bool => false), 'was not posted');
        $this->assertFails(fn () => Celery::assertPostedOn('ml', 'proj.add'), 'not posted on the queue [ml]');
        $this->assertFails(fn () => Celery::assertNotPosted('proj.add'), 'should not have been');
        $this->assertFails(fn () => Celery::assertNothingPosted(), 'should not have been');
        $this->assertFails(fn () => Celery::assertCount(2), '2 tasks');
    }

    public function test_results_are_programmable(): void
    {
        Celery::fake([
            'add' => 5,
            'sum' => fn (PostedTask $task): int => array_sum($task->args),
            'boom' => new DomainException('no such row'),
            'nothing' => null,
        ])->returning('later', 'said');

        $this->assertSame(5, Celery::post('add', [2, 3])->get());
        $this->assertSame(6, Celery::post('sum', [1, 2, 3])->get());
        $this->assertSame('said', Celery::post('later')->get());
        $this->assertNull(Celery::post('nothing')->get());
        $this->assertTrue(Celery::post('nothing')->successful());

        $failed = Celery::post('boom');
        $this->assertSame('FAILURE', $failed->status());
        $this->assertTrue($failed->ready());
        $this->assertTrue($failed->failed());
        $this->assertFalse($failed->successful());
        $this->assertNotNull($failed->traceback());

        try {
            $failed->get();
            $this->fail('a failed task gave a value');
        } catch (TaskFailed $e) {
            $this->assertSame('DomainException', $e->type);
            $this->assertStringContainsString('no such row', $e->getMessage());
        }
    }

    public function test_other_tasks_stay_pending(): void
    {
        Celery::fake();
        $result = Celery::post('slow');

        $this->assertSame('PENDING', $result->status());
        $this->assertFalse($result->ready());
        $this->assertFalse($result->failed());
        $this->expectException(ResultTimedOut::class);
        $result->get(30);
    }

    public function test_results_can_be_found_forgotten_and_revoked(): void
    {
        $fake = Celery::fake(['add' => 5]);
        $added = Celery::post('add');
        $slow = Celery::post('slow');

        $this->assertSame(5, Celery::result($added->id())->get());
        Celery::forget($added->id());
        $this->assertSame('PENDING', $added->status());

        Celery::revoke($slow->id());
        $this->assertSame('REVOKED', $slow->status());
        $this->assertTrue($fake->isRevoked($slow->id()));
        $this->expectException(TaskFailed::class);
        $slow->get();
    }

    public function test_the_broker_can_be_down(): void
    {
        $fake = Celery::fake()->failPosting();

        try {
            Celery::post('add');
            $this->fail('it was posted');
        } catch (RuntimeException $e) {
            $this->assertSame('the broker cannot be reached', $e->getMessage());
        }

        $fake->assertNothingPosted();
        $fake->failPosting(null);
        Celery::post('add');
        $fake->assertCount(1);
    }

    public function test_jobs_are_found_by_their_class(): void
    {
        $fake = Celery::fake();
        TaskCreated::dispatch(7)->onConnection('celery')->onQueue('ml');
        TaskCreated::dispatchSync(8);
        TrainModel::dispatch('mnist')->onConnection('celery');
        $sent = new SendsItself();
        $sent->dispatch(9);
        Celery::post('task_created', [10]);

        $fake->assertPosted(TaskCreated::class);
        $fake->assertPosted(TaskCreated::class, 2);
        $fake->assertPostedTimes(TrainModel::class);
        $fake->assertPosted(SendsItself::class, 1);
        $fake->assertPosted(ShouldRunOnCelery::class, 3);
        $fake->assertPosted('task_created', 4);
        $fake->assertPostedOn('ml', TaskCreated::class);
        $fake->assertPostedOn('ml', TaskCreated::class, fn (TaskCreated $job): bool => $job->id === 7);
        $fake->assertPosted(TaskCreated::class, fn ($job, PostedTask $task): bool => $job->id === 8 && $task->queue === 'celery');
        $fake->assertPosted(TaskCreated::class, fn (PostedTask $task): bool => $task->args === [8]);
        $fake->assertPosted(fn (TaskCreated $job): bool => $job->id === 8);
        $fake->assertPosted(fn (PostedTask $task): bool => $task->job instanceof TrainModel);
        $fake->assertNotPosted(TaskCreated::class, fn (TaskCreated $job): bool => $job->id === 10);
        $fake->assertNotPosted(fn (TrainModel $job, PostedTask $task): bool => $task->queue === 'ml');
        $fake->assertNotPosted(PlainJob::class);
        $this->assertCount(2, $fake->posted(TaskCreated::class));
        $this->assertSame($sent, $fake->posted(SendsItself::class)->sole()->job);

        $this->assertFails(fn () => $fake->assertPosted(PlainJob::class), 'PlainJob] was not posted. Posted: task_created on ml');
        $this->assertFails(fn () => $fake->assertPostedTimes(TaskCreated::class, 3), 'posted 2 times instead of 3');
        $this->assertFails(fn () => $fake->assertNotPosted(TrainModel::class), 'should not have been');
    }

    public function test_revocations_are_asserted(): void
    {
        $fake = Celery::fake(['done' => 5]);
        $fake->assertNothingRevoked();
        $slow = Celery::post('slow');
        $done = Celery::post('done');
        $other = Celery::post('other');
        $job = Queue::connection('celery')->push(new TaskCreated(1));

        $slow->revoke();
        Celery::revoke($done->id());
        Celery::connection()->revoke('unknown');
        $this->command('celery:revoke', ['id' => [$job]]);

        $fake->assertRevoked($slow);
        $fake->assertRevoked($slow->id());
        $fake->assertRevoked('slow');
        $fake->assertRevoked($done);
        $fake->assertRevoked('unknown');
        $fake->assertRevoked(TaskCreated::class);
        $fake->assertRevoked(fn (TaskCreated $job): bool => $job->id === 1);
        $fake->assertRevoked($fake->posted('slow')->sole());
        $fake->assertNotRevoked($other);
        $fake->assertNotRevoked('other');
        $this->assertSame('SUCCESS', $done->status(), 'it had ended before');

        $this->assertFails(fn () => $fake->assertRevoked($other), "[{$other->id()}] was not revoked. Revoked: {$slow->id()}");
        $this->assertFails(fn () => $fake->assertRevoked(TrainModel::class), 'was not revoked');
        $this->assertFails(fn () => $fake->assertNotRevoked('slow'), 'should not have been');
        $this->assertFails(fn () => $fake->assertNothingRevoked(), 'should not have been');
    }

    public function test_a_task_can_be_under_way(): void
    {
        $fake = Celery::fake([
            'import' => FakeState::progress(['done' => 3, 'of' => 10]),
            'own' => FakeState::of('COUNTING', 7),
        ]);
        $import = Celery::post('import');

        $this->assertSame('PROGRESS', $import->status());
        $this->assertSame(['done' => 3, 'of' => 10], $import->progress());
        $this->assertFalse($import->ready());
        $this->assertFalse($import->failed());
        try {
            $import->get(30);
            $this->fail('a task under way gave a value');
        } catch (ResultTimedOut) {
        }
        $this->assertSame(['COUNTING', 7], [Celery::post('own')->status(), Celery::post('own')->progress()]);
        $this->assertNull(Celery::post('other')->progress());

        $fake->answer($import, FakeState::progress(['done' => 9, 'of' => 10]));
        $this->assertSame(9, Celery::result($import->id())->progress()['done']);
        $fake->answer($import->id(), 'imported');
        $this->assertSame(['SUCCESS', 'imported', null], [$import->status(), $import->get(), $import->progress()]);
        $fake->answer($fake->posted('own')->first(), new DomainException('broken'));
        $this->assertSame('FAILURE', Celery::result($fake->posted('own')->first()->id)->status());

        $revoked = Celery::post('import');
        $revoked->revoke();
        $this->assertSame(['REVOKED', null], [$revoked->status(), $revoked->progress()]);
    }

    public function test_the_fake_is_a_double_of_the_contracts(): void
    {
        $fake = Celery::fake();

        $this->assertSame($fake, $this->app->make(Factory::class));
        $this->assertNotInstanceOf(CeleryManager::class, $fake);
        $this->assertSame('default', $this->app->make(Client::class)->name());
        $this->assertSame('celery', $fake->settings()->queue);
        config(['celery.connections.default.queue' => 'changed']);
        Celery::post('a');
        Celery::purge();
        Celery::post('a');
        $this->assertSame(['celery', 'changed'], $fake->posted('a')->pluck('queue')->all());
    }

    public function test_tasks_under_construction_are_conditionable_and_macroable(): void
    {
        Celery::fake();
        PendingTask::macro('urgent', function (): PendingTask {
            return $this->with(['priority' => 0]);
        });
        CeleryManager::macro('report', function (int $id) {
            return $this->task('report', [$id])->onQueue('reports')->post();
        });

        Celery::task('a')->when(true, fn (PendingTask $task) => $task->onQueue('ml'))->unless(true, fn ($task) => $task->delay(5))->post();
        Celery::task('b')->urgent()->onQueue('ml')->post();
        Celery::report(7);

        Celery::assertPostedOn('ml', 'a', fn (PostedTask $task): bool => $task->fields === []);
        Celery::assertPostedOn('ml', 'b', fn (PostedTask $task): bool => $task->fields === ['priority' => 0]);
        Celery::assertPostedOn('reports', 'report', fn (PostedTask $task): bool => $task->args === [7]);
        CeleryManager::flushMacros();
        PendingTask::flushMacros();
    }

    public function test_ids_are_uuids_and_differ(): void
    {
        Celery::fake();
        $one = Celery::post('a')->id();
        $two = Celery::post('a')->id();

        $this->assertMatchesRegularExpression('/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/', $one);
        $this->assertNotSame($one, $two);
    }

    private function assertFails(Closure $assertion, string $message): void
    {
        try {
            $assertion();
        } catch (AssertionFailedError $e) {
            $this->assertStringContainsString($message, $e->getMessage());

            return;
        }

        throw new RuntimeException("nothing failed, where this was expected: {$message}");
    }
}

final class SendsItself extends AbstractCeleryTaskJob
{
    public function dispatch(int $id): Result
    {
        return $this->send('task_created', [$id]);
    }
}
