<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Events\TaskPosted;
use CeleryBridge\Events\TaskPostFailed;
use CeleryBridge\Events\TaskPosting;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\Support\TestCase;
use DateInterval;
use DateTimeImmutable;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use InvalidArgumentException;
use RuntimeException;

/**
 * Queues, delays and other options; transactions; events.
 */
final class PostingTest extends TestCase
{
    public function test_options_become_fields_of_the_message(): void
    {
        Celery::fake();
        $eta = new DateTimeImmutable('2030-01-02 03:04:05.6 +02:00');

        Celery::task('a', [1])
            ->withId('my-id')
            ->delay($eta)
            ->expires(new DateTimeImmutable('2030-01-03 00:00:00 UTC'))
            ->timeLimit(30, 20)
            ->with(['tenant' => 7])
            ->post();

        Celery::assertPosted('a', fn (PostedTask $task): bool => $task->id === 'my-id' && $task->fields === [
            'expires' => '2030-01-03T00:00:00.000000+00:00',
            'timelimit' => [30.0, 20.0],
            'tenant' => 7,
            'eta' => '2030-01-02T01:04:05.600000+00:00',
        ]);
    }

    public function test_a_delay_is_counted_from_now(): void
    {
        Celery::fake();
        $begin = microtime(true);

        Celery::task('a')->delay(60)->post();
        Celery::task('a')->delay(new DateInterval('PT1M'))->post();
        Celery::post('a', [], null, ['countdown' => '60']);
        Celery::task('a')->delay(0)->post();
        Celery::task('a')->delay(null)->post();
        $took = microtime(true) - $begin;

        $etas = Celery::posted()->map(fn (PostedTask $task) => $task->fields['eta'] ?? null)->all();
        foreach (array_slice($etas, 0, 3) as $eta) {
            $seconds = (float) (new DateTimeImmutable($eta))->format('U.u') - $begin;
            $this->assertGreaterThanOrEqual(59.999, $seconds);
            $this->assertLessThanOrEqual(60.001 + $took, $seconds);
        }
        $this->assertSame([null, null], array_slice($etas, 3));
    }

    /**
     * @dataProvider farTimes
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('farTimes')] // PHPUnit 12 reads no comments.
    public function test_far_times_are_right(string $field, int|float $seconds): void
    {
        Celery::fake();
        $begin = microtime(true);

        Celery::post('a', [], null, [$field => $seconds]);
        $took = microtime(true) - $begin;

        $fields = Celery::posted()->sole()->fields;
        $time = (float) (new DateTimeImmutable($fields['eta'] ?? $fields['expires']))->format('U.u') - $begin;
        $this->assertGreaterThanOrEqual($seconds - 0.001, $time);
        $this->assertLessThanOrEqual($seconds + 0.001 + $took, $time);
    }

    /**
     * @return iterable<string, array{string, int|float}>
     */
    public static function farTimes(): iterable
    {
        yield 'half a second ago' => ['delay', -0.5];
        yield 'a part of a second' => ['delay', 1.75];
        yield 'the last that PHP takes in microseconds' => ['expires', 9_999_999];
        yield 'the first that it does not' => ['delay', 10_000_000];
        yield 'a year' => ['expires', 365 * 86_400];
        yield 'a thousand years' => ['delay', 1_000 * 365.25 * 86_400];
    }

    public function test_times_that_celery_cannot_read_are_refused(): void
    {
        Celery::fake();

        foreach ([1e12, -1e12, INF, NAN] as $seconds) {
            try {
                Celery::post('a', [], null, ['delay' => $seconds]);
                $this->fail("{$seconds} was taken");
            } catch (InvalidArgumentException $e) {
                $this->assertStringContainsString('too far away', $e->getMessage());
            }
        }
        Celery::assertNothingPosted();
    }

    public function test_queues(): void
    {
        config(['celery.connections.reports' => ['host' => 'r', 'queue' => 'pdf']]);
        Celery::fake();

        Celery::post('a');
        Celery::post('a', [], 'ml');
        Celery::post('a', [], Queues::Mail);
        Celery::post('a', [], null, ['queue' => 'opt']);
        Celery::connection('reports')->post('a');
        Celery::connection('reports')->post('a', [], 'celery');

        $this->assertSame(['celery', 'ml', 'mail', 'opt', 'pdf', 'celery'], Celery::posted()->pluck('queue')->all());
        $this->assertSame('reports', Celery::posted()->last()->connection);
    }

    public function test_many_keep_their_keys_and_order(): void
    {
        Celery::fake(['a' => 1, 'b' => 2]);

        $results = Celery::postMany(['x' => Celery::task('a')->onQueue('ml'), 'y' => Celery::task('b')]);

        $this->assertSame(['x' => 1, 'y' => 2], array_map(fn ($result) => $result->get(), $results));
        $this->assertSame(['a', 'b'], Celery::posted()->pluck('name')->all());
        Celery::assertPostedOn('ml', 'a');
    }

    public function test_many_wait_for_the_commit_too(): void
    {
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            Celery::postMany([Celery::task('a'), Celery::task('b')->beforeCommit()]);
            $this->assertSame(['b'], $fake->posted()->pluck('name')->all());
        });

        $this->assertSame(['b', 'a'], $fake->posted()->pluck('name')->all());
    }

    public function test_many_that_fail_say_which(): void
    {
        Celery::fake()->failPosting(new RuntimeException('down'));
        $failed = [];
        Event::listen(TaskPostFailed::class, function (TaskPostFailed $event) use (&$failed): void {
            $failed[] = $event->task->name;
        });

        try {
            Celery::postMany([Celery::task('a'), Celery::task('b')->onQueue('ml'), Celery::task('c')]);
            $this->fail('they were posted');
        } catch (RuntimeException $e) {
            $this->assertSame('down', $e->getMessage());
        }

        $this->assertEqualsCanonicalizing(['a', 'b', 'c'], $failed);
    }

    public function test_a_task_is_posted_after_the_commit(): void
    {
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            $result = Celery::post('a');
            $fake->assertNothingPosted();
            $this->assertSame('PENDING', $result->status());

            DB::transaction(fn () => Celery::post('b'));
            $fake->assertNothingPosted();

            Celery::task('c')->beforeCommit()->post();
            $fake->assertCount(1);
        });

        $this->assertSame('c', $fake->posted()->first()->name);
        $this->assertEqualsCanonicalizing(['a', 'b', 'c'], $fake->posted()->pluck('name')->all());
    }

    public function test_a_task_is_dropped_when_the_transaction_rolls_back(): void
    {
        $fake = Celery::fake()->respectTransactions();
        Event::fake([TaskPosting::class, TaskPosted::class]);

        try {
            DB::transaction(function (): void {
                Celery::post('a');

                throw new RuntimeException('rolled back');
            });
            $this->fail('the transaction succeeded');
        } catch (RuntimeException $e) {
            $this->assertSame('rolled back', $e->getMessage());
        }

        Celery::post('b');
        $this->assertSame(['b'], $fake->posted()->pluck('name')->all());
        Event::assertDispatchedTimes(TaskPosting::class, 1);
    }

    public function test_a_connection_can_be_told_not_to_wait(): void
    {
        config(['celery.connections.default.after_commit' => false]);
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            Celery::post('a');
            $fake->assertCount(1);
            Celery::task('b')->afterCommit()->post();
            $fake->assertCount(1);
        });

        $fake->assertCount(2);
    }

    public function test_a_plain_fake_records_inside_a_transaction(): void
    {
        $fake = Celery::fake();

        DB::transaction(function () use ($fake): void {
            Celery::post('a');
            Celery::task('b')->afterCommit()->post();
            $fake->assertCount(2);
        });
    }

    public function test_events_tell_of_posting_posted_and_failed(): void
    {
        $fake = Celery::fake();
        $seen = [];
        Event::listen([TaskPosting::class, TaskPosted::class, TaskPostFailed::class], function (object $event) use (&$seen): void {
            $seen[] = class_basename($event).' '.$event->task->name.' '.$event->task->queue;
        });

        Celery::post('a');
        $fake->failPosting(new RuntimeException('down'));
        try {
            Celery::post('b', [], 'ml');
            $this->fail('it was posted');
        } catch (RuntimeException $e) {
            $this->assertSame('down', $e->getMessage());
        }

        $this->assertSame(
            ['TaskPosting a celery', 'TaskPosted a celery', 'TaskPosting b ml', 'TaskPostFailed b ml'],
            $seen,
        );
    }
}

enum Queues: string
{
    case Mail = 'mail';
}
