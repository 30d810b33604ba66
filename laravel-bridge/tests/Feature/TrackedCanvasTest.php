<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Results;
use CeleryBridge\Events\TaskFailed;
use CeleryBridge\Events\TaskPosting;
use CeleryBridge\Events\TaskRevoked;
use CeleryBridge\Events\TaskSucceeded;
use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Queue\CeleryQueue;
use CeleryBridge\TaskMessage;
use CeleryBridge\Tests\fixtures\jobs\FailsOnWorker;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryPublishException;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use RuntimeException;

/**
 * The outcomes of tasks in chains, groups and chords, and of tasks that are tracked on request, with a
 * real Redis in which the test ends them.
 */
final class TrackedCanvasTest extends TestCase
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
    }

    public function test_jobs_are_tracked_and_tasks_on_request(): void
    {
        $before = [];
        Event::listen(TaskPosting::class, function () use (&$before): void {
            $before[] = $this->states();
        });
        Celery::chain([new TaskCreated(1), Celery::task('score')])->post();
        // A listener would post a row that is POSTING, and not the whole chain.
        $this->assertSame(['task_created' => 'PENDING'], $before[0]);
        $this->assertSame(['task_created' => 'PENDING'], $this->states());

        Celery::chord([Celery::task('a')->tracked(), Celery::task('b')], Celery::task('c'))->post();
        $this->assertSame(['a' => 'PENDING', 'task_created' => 'PENDING'], $this->states());

        Celery::group([Celery::task('x'), Celery::task('y')])->tracked()->post();
        $this->assertCount(4, $this->states());
    }

    public function test_a_failed_post_to_one_of_several_queues_keeps_the_rows_of_posted_tasks_only(): void
    {
        // A key that is not a list takes no task.
        $this->broker->finish('taken', 'SUCCESS', 1);
        foreach ([1, 2] as $refused) {
            try {
                Celery::postMany([
                    Celery::task("posted {$refused}")->onQueue('one')->tracked(),
                    ...array_fill(0, $refused, Celery::task('refused')->onQueue('celery-task-meta-taken')->tracked()),
                    Celery::task('untried')->onQueue('three')->tracked(),
                ]);
                $this->fail('the post did not fail');
            } catch (CeleryPublishException) {
            }
            $this->assertCount($refused, $this->broker->messages('one'));
        }

        $this->assertSame([], $this->broker->messages('three'));
        $this->assertSame(['posted 1' => 'PENDING', 'posted 2' => 'PENDING'], $this->states());
    }

    public function test_a_failure_ends_the_tasks_behind_it_as_not_begun(): void
    {
        Event::fake([TaskFailed::class, TaskRevoked::class, TaskSucceeded::class]);
        $ids = ['the-first', 'it-fails', 'a-later', 'the-last'];
        $last = Celery::chain([
            Celery::task('first')->withId($ids[0]),
            $this->named($ids[1], new FailsOnWorker('of its own')),
            $this->named($ids[2], new FailsOnWorker('never begun')),
            Celery::task('last', [7])->withId($ids[3]),
        ])->tracked()->post();
        $this->broker->finish($ids[0], 'SUCCESS', 1);
        // As Celery stores them: the failure of a step is also that of the steps behind it.
        foreach (array_slice($ids, 1) as $id) {
            $this->broker->finish($id, 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']);
        }

        $this->listen();

        $this->assertSame(['FAILURE', 'REVOKED', 'REVOKED', 'SUCCESS'], array_values($this->states('id', ['it-fails', 'a-later', 'the-last', 'the-first'])));
        $this->assertSame(['it-fails'], DB::table('failed_jobs')->pluck('uuid')->all());
        $this->assertSame(['of its own'], DB::table('tasks')->pluck('name')->all(), 'failed() of the job that failed');
        Event::assertDispatchedTimes(TaskSucceeded::class, 1);
        Event::assertDispatchedTimes(TaskFailed::class, 1);
        Event::assertDispatched(TaskRevoked::class, static fn (TaskRevoked $event): bool => $event->id === 'a-later'
            && str_contains($event->reason, 'did not begin: proj.fail'));
        // The application has the result in its hands.
        $this->assertTrue($last->failed());

        // A retry goes on with the chain, and tracks it.
        $this->broker->flush();
        $this->command('queue:retry', ['id' => ['it-fails']]);
        [$message] = $this->broker->messages('celery');
        $this->assertSame(['proj.fail', ['of its own']], [$message->headers->task, $message->args]);
        $rest = array_reverse(json_decode(base64_decode($message->body))[2]->chain);
        $this->assertSame([['proj.fail', ['never begun'], true], ['last', [7], false]], array_map(
            static fn (object $task): array => [$task->task, $task->args, $task->immutable],
            $rest,
        ));
        $again = [$message->headers->id, $rest[0]->options->task_id, $rest[1]->options->task_id];
        $this->assertSame([], array_intersect($again, $ids));
        $this->assertSame(3, DB::table('celery_jobs')->whereIn('id', $again)->where('state', 'PENDING')->count());
        $this->assertSame(0, DB::table('failed_jobs')->count());

        $this->broker->finish($again[0], 'SUCCESS', null);
        $this->broker->finish($again[1], 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['later'], 'exc_module' => 'builtins']);
        $this->listen();
        $this->assertSame(['of its own', 'never begun'], DB::table('tasks')->orderBy('id')->pluck('name')->all(), 'failed() of the later job');
        $this->assertSame([$again[1]], DB::table('failed_jobs')->pluck('uuid')->all());
    }

    public function test_a_retry_has_the_results_that_the_task_was_given(): void
    {
        $fail = fn (string $id) => $this->broker->finish($id, 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']);
        $named = static fn (string $id, mixed ...$args) => Celery::task($id, $args)->withId($id);
        Celery::chain([$named('a'), $named('b', 'own')])->tracked()->post();
        Celery::chain([Celery::group([$named('g1'), $named('g2')]), $named('c', 'own')])->tracked()->post();
        Celery::chord([$named('h')], $named('d'))->tracked()->post();
        Celery::chain([$named('e'), Celery::task('f', ['key' => 1])->withId('f')])->tracked()->post();
        foreach (['a' => 1, 'g1' => 2, 'g2' => ['x' => 3], 'h' => 4, 'e' => 5] as $id => $result) {
            $this->broker->finish($id, 'SUCCESS', $result);
        }
        array_map($fail, ['b', 'c', 'd', 'f']);
        $this->listen();
        $this->broker->redis()->del('celery');

        $this->command('queue:retry', ['id' => ['b', 'c', 'd']]);
        $this->assertEquals([[1, 'own'], [[2, (object) ['x' => 3]], 'own'], [[4]]], array_column($this->broker->messages('celery'), 'args'));

        foreach (['f' => 'keyword arguments', 'b' => 'not stored any more'] as $id => $why) {
            if ($id === 'b') {
                $this->broker->flush();
                $fail('b');
                DB::table('celery_jobs')->where('id', 'b')->update(['ended_at' => null, 'settled_at' => null, 'state' => 'PENDING']);
                $this->listen();
            }
            try {
                $this->command('queue:retry', ['id' => [$id]]);
                $this->fail("{$id} was sent again");
            } catch (JobCannotRunOnCelery $e) {
                $this->assertStringContainsString($why, $e->getMessage());
            }
            $this->assertTrue(DB::table('failed_jobs')->where('uuid', $id)->exists());
        }
    }

    public function test_the_rest_of_a_long_chain_is_limited(): void
    {
        $steps = array_map(static fn (int $n) => Celery::task('step', [str_repeat('x', 1_000)])->withId(sprintf('step-%03d', $n)), range(0, 299));
        Celery::chain($steps)->tracked()->post();

        $sizes = DB::table('celery_jobs')->orderBy('id')->pluck('payload')->map(static fn (string $text): int => count(json_decode($text, true)['celery']['rest']['chain'] ?? []))->all();
        $this->assertSame([0, 3, 2, 1, 0], [$sizes[0], ...array_slice($sizes, -4)]);
        $this->assertGreaterThan(40, max($sizes));
        $this->assertLessThan(80_000, max(array_map(strlen(...), DB::table('celery_jobs')->pluck('payload')->all())));
    }

    public function test_the_rest_of_a_chain_may_be_of_any_kind(): void
    {
        Celery::chain([
            $this->named('begin', new FailsOnWorker('first')),
            Celery::group(['x' => Celery::task('a', [1]), 'y' => new FailsOnWorker('in a group')]),
            Celery::chord([Celery::task('b')], Celery::task('sum', ['start' => 1])->onQueue('math')),
        ])->onError(Celery::task('report'))->onQueue('ml')->post();
        $this->broker->finish('begin', 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']);
        $this->listen();
        $bodies = fn (): array => array_map(static fn (object $message): mixed => self::withoutIds(json_decode(base64_decode($message->body))), $this->broker->messages('ml'));
        [$first] = $bodies();
        $this->broker->redis()->del('ml');

        $this->command('queue:retry', ['id' => ['begin']]);
        $this->assertEquals([$first], $bodies());
    }

    private static function withoutIds(mixed $part): mixed
    {
        if (! is_array($part) && ! is_object($part)) {
            return is_string($part) && preg_match('/^[0-9a-f]{8}-[0-9a-f-]{27}$/', $part) === 1 ? 'an id' : $part;
        }

        return array_map(self::withoutIds(...), (array) $part);
    }

    public function test_the_tasks_behind_a_revoked_one_have_no_result_and_end_nevertheless(): void
    {
        Celery::chain([Celery::task('a')->withId('a'), Celery::task('b')->withId('b'), Celery::group([
            Celery::task('c')->withId('c'), Celery::task('d')->withId('d'),
        ])])->tracked()->post();
        $this->broker->finish('a', 'REVOKED', ['exc_type' => 'TaskRevokedError', 'exc_message' => ['revoked'], 'exc_module' => 'celery.exceptions']);

        $this->listen();

        $this->assertSame(['a' => 'REVOKED', 'b' => 'REVOKED', 'c' => 'REVOKED', 'd' => 'REVOKED'], $this->states());
        $this->assertSame(0, DB::table('failed_jobs')->count());
    }

    public function test_the_body_of_a_chord_whose_header_failed_did_not_begin(): void
    {
        $chord = Celery::chord(
            [Celery::task('a')->withId('a'), $this->named('b', new FailsOnWorker('in the header'))],
            $this->named('body', new FailsOnWorker('the body')),
        )->post();
        $this->broker->finish('b', 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']);
        $this->broker->finish('body', 'FAILURE', ['exc_type' => 'ChordError', 'exc_message' => ["Dependency b raised ValueError('expired')"], 'exc_module' => 'celery.exceptions']);

        $this->listen();

        $this->assertSame(['b' => 'FAILURE', 'body' => 'REVOKED'], $this->states('id'));
        $this->assertSame(['b'], DB::table('failed_jobs')->pluck('uuid')->all());
        $this->assertSame(['in the header'], DB::table('tasks')->pluck('name')->all());
        $this->assertTrue($chord->failed());
    }

    public function test_the_results_of_a_group_stay(): void
    {
        $results = Celery::group(['a' => Celery::task('add'), 'b' => Celery::task('add')])->tracked()->post();
        $this->assertInstanceOf(Results::class, $results);
        foreach ($results as $key => $result) {
            $this->broker->finish($result->id(), 'SUCCESS', $key);
        }

        $this->listen();
        $this->assertSame(['SUCCESS', 'SUCCESS'], DB::table('celery_jobs')->pluck('state')->all());
        $this->assertSame(['a' => 'a', 'b' => 'b'], $results->get(5));
    }

    public function test_a_single_task_is_tracked_on_request(): void
    {
        Event::fake([TaskFailed::class]);
        $result = Celery::task('import', ['dataset' => 'mnist'])->tracked()->post();
        [$other] = Celery::postMany([Celery::task('other')->tracked()]);
        $this->assertSame(['import' => 'PENDING', 'other' => 'PENDING'], $this->states());

        $this->broker->finish($result->id(), 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']);
        $this->broker->finish($other->id(), 'SUCCESS', 5);
        $this->listen();

        $this->assertSame(['import' => 'FAILURE', 'other' => 'SUCCESS'], $this->states());
        Event::assertDispatched(TaskFailed::class, static fn (TaskFailed $event): bool => $event->id === $result->id() && $event->task === 'import');
        $this->assertSame(5, $other->get(5));
        $this->broker->flush();
        $this->command('queue:retry', ['id' => [$result->id()]]);
        [$message] = $this->broker->messages('celery');
        $this->assertEquals(['import', (object) ['dataset' => 'mnist']], [$message->headers->task, $message->kwargs]);

        config(['celery.track' => false]);
        $this->expectException(InvalidConfiguration::class);
        $this->expectExceptionMessage('php artisan migrate');
        Celery::task('import')->tracked()->post();
    }

    public function test_rows_go_with_a_rollback_and_with_a_post_that_fails(): void
    {
        try {
            DB::transaction(function (): void {
                Celery::chain([new TaskCreated(1)])->post();
                Celery::task('a')->tracked()->post();
                $this->assertCount(2, $this->states());

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }
        $this->assertSame([], $this->states());

        config(['celery.connections.default.url' => 'redis://127.0.0.1:1']);
        Celery::forgetConnections();
        foreach ([Celery::group([new TaskCreated(1), Celery::task('a')])->tracked(), Celery::task('a')->tracked()] as $pending) {
            try {
                $pending->post();
                $this->fail('the post must fail');
            } catch (\CeleryConnectionException) {
            }
        }
        $this->assertSame([], $this->states());
    }

    /** Returns a job as the task of this id. */
    private function named(string $id, FailsOnWorker $job): object
    {
        $task = CeleryQueue::of($this->app)->toMember($job);

        return TaskMessage::make($task->name, $task->args, null, ['id' => $id, 'job' => $job, 'immutable' => true]);
    }

    private function listen(): void
    {
        [$code, $output] = $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(0, $code, $output);
        $this->assertSame(0, DB::table('celery_jobs')->whereNotNull('ended_at')->whereNull('settled_at')->count());
    }

    /**
     * @param  list<string>  $only  ids, in this order
     * @return array<string, string>
     */
    private function states(string $by = 'task', array $only = []): array
    {
        $states = DB::table('celery_jobs')->orderBy($by)->pluck('state', $by)->all();

        return $only === [] ? $states : array_replace(array_flip($only), array_intersect_key($states, array_flip($only)));
    }
}
