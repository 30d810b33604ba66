<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\Support\TestCase;
use Closure;
use DomainException;
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
