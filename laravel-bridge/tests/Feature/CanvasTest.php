<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Canvas\Group;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Results;
use CeleryBridge\Events\TaskPosted;
use CeleryBridge\Events\TaskPostFailed;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Exceptions\TaskNotPosted;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\PlainJob;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\fixtures\jobs\TrainModel;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use InvalidArgumentException;
use PHPUnit\Framework\AssertionFailedError;
use RuntimeException;

/**
 * Chains, groups and chords: what the fake records, and what is sent to a real Redis.
 */
final class CanvasTest extends TestCase
{
    public function test_the_fake_knows_a_chain_of_tasks_jobs_and_groups(): void
    {
        $fake = Celery::fake(['sum' => 6]);

        $result = Celery::chain([
            new TaskCreated(1),
            Celery::group([Celery::task('add', [1]), Celery::task('add', [2])]),
            Celery::task('sum')->onQueue('math'),
        ])->onQueue('ml')->post();

        $this->assertInstanceOf(Result::class, $result);
        $this->assertSame(6, $result->get());
        $fake->assertChained([TaskCreated::class, ['add', 'add'], 'sum']);
        $fake->assertChained([fn (TaskCreated $job): bool => $job->id === 1, ['add', 'add'], 'sum']);
        $fake->assertPostedOn('ml', 'add');
        $fake->assertPostedOn('math', 'sum');
        $fake->assertCount(4);
        foreach ([['sum'], [TaskCreated::class, ['add'], 'sum'], [TaskCreated::class, 'add', 'sum']] as $other) {
            $this->assertFails(fn () => $fake->assertChained($other), 'chain(task_created, group(add, add), sum)');
        }
        $this->assertFails(fn () => $fake->assertNoCanvasPosted(), 'chain(');
    }

    public function test_the_fake_knows_groups_and_chords(): void
    {
        $fake = Celery::fake(['add' => fn ($task): int => array_sum($task->args), 'boom' => new RuntimeException('no')]);
        $fake->assertNoCanvasPosted();

        $results = Celery::group(['a' => Celery::task('add', [1, 2]), 'b' => Celery::task('add', [3, 4])])->post();
        $this->assertInstanceOf(Results::class, $results);
        $this->assertSame(['a' => 3, 'b' => 7], $results->get());
        $this->assertSame([true, true, false, 2, 2], [
            $results->ready(), $results->successful(), $results->failed(), $results->endedCount(), count($results),
        ]);
        $fake->assertGrouped(['add', 'add']);
        $fake->assertGrouped(fn (Group $group): bool => array_keys($group->members) === ['a', 'b']);
        $this->assertFails(fn () => $fake->assertGrouped(['add']), 'group(add, add)');

        Celery::chord([Celery::task('add', [1])], Celery::task('sum'))->post();
        $fake->assertChord(['add'], 'sum');
        $this->assertFails(fn () => $fake->assertChord(['sum'], 'add'), 'chord(add; sum)');

        $mixed = Celery::group([Celery::task('add', [1]), Celery::task('boom'), Celery::task('later')])->post();
        $this->assertSame([false, false, true, 2], [
            $mixed->ready(), $mixed->successful(), $mixed->failed(), $mixed->endedCount(),
        ]);
        try {
            $mixed->get();
            $this->fail('a member has failed');
        } catch (TaskFailed $e) {
            $this->assertStringContainsString('no', $e->getMessage());
        }

        $this->expectException(ResultTimedOut::class);
        Celery::group([Celery::task('later')])->post()->get(0);
    }

    public function test_an_empty_group_has_no_results_and_an_empty_chain_is_refused(): void
    {
        $fake = Celery::fake();
        $results = Celery::group([])->post();
        $this->assertSame([[], true, true, false], [$results->get(), $results->ready(), $results->successful(), $results->failed()]);
        $fake->assertNothingPosted();

        $this->expectException(InvalidArgumentException::class);
        Celery::chain([]);
    }

    public function test_members_that_no_worker_can_run_are_refused(): void
    {
        Celery::fake();
        foreach ([new PlainJob(), 'add', 7] as $member) {
            try {
                Celery::group([$member]);
                $this->fail('it must be refused');
            } catch (InvalidArgumentException $e) {
                $this->assertStringContainsString(get_debug_type($member), $e->getMessage());
            }
        }
        try {
            Celery::group([Celery::group([Celery::task('a')])]);
            $this->fail('a group in a group must be refused');
        } catch (InvalidArgumentException $e) {
            $this->assertStringContainsString('inner group', $e->getMessage());
        }

        $unique = new class (1) extends TaskCreated implements ShouldBeUnique {
            public int $uniqueFor = 60;
        };
        $this->expectException(JobCannotRunOnCelery::class);
        $this->expectExceptionMessage('is unique');
        Celery::chain([$unique]);
    }

    public function test_a_chain_is_sent_as_celery_sends_it(): void
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);

        $result = Celery::chain([
            (new TrainModel('mnist'))->onQueue('gpu'),
            Celery::task('score', [2])->with(['tenant' => 7]),
            Celery::task('store', ['as' => 'best'])->immutable()->withId('the-last'),
        ])->onError(Celery::task('report'))->onQueue('ml')->post();

        $this->assertSame('the-last', $result->id());
        $this->assertSame([], $broker->messages('celery'));
        [$message] = $broker->messages('gpu');
        $this->assertSame(['ml.train', 'gpu'], [$message->headers->task, $message->properties->delivery_info->routing_key]);
        $this->assertEquals([30, null], $message->headers->timelimit);
        $this->assertSame(5, $message->headers->tries);
        [, , $embed] = json_decode(base64_decode($message->body));
        // Celery writes the following tasks with the last one first.
        $this->assertSame(['store', 'score'], array_column($embed->chain, 'task'));
        $this->assertSame('the-last', $embed->chain[0]->options->task_id);
        $this->assertSame([true, false], array_column($embed->chain, 'immutable'));
        $this->assertSame(['ml', 'ml'], array_map(static fn (object $task): string => $task->options->queue, $embed->chain));
        $this->assertSame(7, $embed->chain[1]->options->headers->tenant);
        $this->assertSame('report', $embed->errbacks[0]->task);
    }

    public function test_a_delay_is_that_of_the_tasks_that_begin(): void
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);

        Celery::chain([Celery::task('a'), Celery::task('b')])->delay(60)->post();
        Celery::group([Celery::task('c'), new TaskCreated(1)])->delay(60)->post();

        [$chain, $first, $second] = $broker->messages('celery');
        foreach ([$chain, $first, $second] as $message) {
            $this->assertGreaterThan(time() + 30, strtotime($message->headers->eta));
        }
        $this->assertObjectNotHasPropertyNamed('eta', json_decode(base64_decode($chain->body))[2]->chain[0]->options);
    }

    public function test_a_canvas_waits_for_the_commit_and_goes_with_a_rollback(): void
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);
        Event::fake([TaskPosted::class]);

        $results = DB::transaction(function () use ($broker): Results {
            $results = Celery::group([Celery::task('a'), new TaskCreated(1)])->post();
            $this->assertSame([], $broker->messages('celery'));
            try {
                $results->get();
                $this->fail('it is not posted yet');
            } catch (TaskNotPosted) {
            }

            return $results;
        });
        $sent = array_map(static fn (\stdClass $message): array => [$message->headers->id, $message->headers->group], $broker->messages('celery'));
        $this->assertSame(
            array_map(static fn (Result $result): array => [$result->id(), $results->id()], $results->all()),
            $sent,
        );
        Event::assertDispatchedTimes(TaskPosted::class, 2);
        foreach ($results as $result) {
            $broker->finish($result->id(), 'SUCCESS', 1);
        }
        $this->assertSame([1, 1], $results->get(5));

        $broker->flush();
        try {
            DB::transaction(function (): void {
                Celery::chain([Celery::task('a')])->post();

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }
        $this->assertSame([], $broker->messages('celery'));

        DB::transaction(function () use ($broker): void {
            Celery::chain([Celery::task('a')])->beforeCommit()->post();
            $this->assertCount(1, $broker->messages('celery'));
        });
    }

    public function test_questions_about_many_results_take_few_round_trips(): void
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);
        $ids = array_map(static fn (int $n): string => "many-{$n}", range(1, 300));
        $results = Celery::results($ids);
        foreach (array_slice($ids, 0, 299) as $n => $id) {
            $broker->finish($id, 'SUCCESS', ['n' => $n]);
        }
        $results->ready();

        $before = $broker->reads();
        $this->assertSame(299, Celery::results($ids)->endedCount());
        $this->assertLessThan(30, $broker->reads() - $before);
        $this->assertFalse($results->ready());

        $broker->finish('many-300', 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']);
        $this->assertTrue($results->failed());
        $this->assertEquals((object) ['n' => 0], $results->all()[0]->get(1));
        $this->expectException(TaskFailed::class);
        $this->expectExceptionMessage('ValueError: alas');
        $results->get(1);
    }

    public function test_a_canvas_that_cannot_be_posted_throws_and_says_so(): void
    {
        $this->broker();
        config(['celery.connections.default.url' => 'redis://127.0.0.1:1']);
        Event::fake([TaskPosted::class, TaskPostFailed::class]);
        try {
            Celery::group([Celery::task('a'), Celery::task('b')])->post();
            $this->fail('it must throw');
        } catch (\CeleryConnectionException) {
        }
        Event::assertDispatchedTimes(TaskPostFailed::class, 2);
        Event::assertNotDispatched(TaskPosted::class);
    }

    private function assertFails(callable $assertion, string $message): void
    {
        try {
            $assertion();
        } catch (AssertionFailedError $e) {
            $this->assertStringContainsString($message, $e->getMessage());

            return;
        }
        $this->fail('the assertion holds, and should not');
    }

    private function assertObjectNotHasPropertyNamed(string $name, object $object): void
    {
        $this->assertArrayNotHasKey($name, get_object_vars($object));
    }
}
