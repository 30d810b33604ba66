<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Client;
use CeleryBridge\Exceptions\ArgumentCannotBeSent;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Queue\Queue as LaravelQueue;
use Illuminate\Support\Facades\Context;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;

/**
 * What Laravel adds to the payload of a queued job: in the header "laravel" of the task.
 */
final class ContextTest extends TestCase
{
    protected function tearDown(): void
    {
        LaravelQueue::createPayloadUsing(null);
        parent::tearDown();
    }

    public function test_callbacks_for_payloads_add_to_the_header(): void
    {
        Celery::fake();
        $seen = [];
        LaravelQueue::createPayloadUsing(function ($connection, $queue, array $payload) use (&$seen): array {
            $seen[] = [$connection, $queue, $payload['uuid'], $payload['displayName'], $payload['data']['command']];

            return ['tenant' => 7];
        });
        LaravelQueue::createPayloadUsing(fn ($connection, $queue, array $payload): array => [
            'after' => $payload['tenant'], 'list' => [1, ['k' => 'v']],
        ]);
        $queue = Queue::connection('celery');
        $job = new TaskCreated(1);

        $id = $queue->push($job);
        $queue->pushOn('ml', $job);
        $queue->later(5, $job);
        $queue->bulk([$job, $job]);

        foreach (Celery::posted() as $task) {
            $this->assertSame(['tenant' => 7, 'after' => 7, 'list' => [1, ['k' => 'v']]], $task->fields['laravel']);
        }
        Celery::assertCount(5);
        $this->assertSame(['celery', 'celery', $id, TaskCreated::class, $job], $seen[0]);
        $this->assertSame('ml', $seen[1][1]);
    }

    public function test_a_callback_cannot_change_celerys_own_headers(): void
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);
        LaravelQueue::createPayloadUsing(fn (): array => ['id' => 'x', 'task' => 'y', 'retries' => 9, 'uuid' => 'z']);

        $id = Queue::connection('celery')->push(new TaskCreated(1));

        $headers = $broker->messages('celery')[0]->headers;
        $this->assertSame([$id, 'task_created', 0], [$headers->id, $headers->task, $headers->retries]);
        $this->assertEquals((object) ['id' => 'x', 'task' => 'y', 'retries' => 9], $headers->laravel);
    }

    public function test_what_cannot_be_sent_is_refused(): void
    {
        Celery::fake();
        LaravelQueue::createPayloadUsing(fn (): array => ['callback' => fn () => 1]);

        $this->expectException(ArgumentCannotBeSent::class);
        $this->expectExceptionMessage('the argument laravel.callback of the task [task_created]');
        Queue::connection('celery')->push(new TaskCreated(1));
    }

    public function test_the_header_has_a_largest_size(): void
    {
        Celery::fake();
        $fits = str_repeat('x', 65_536 - strlen('{"large":""}'));
        LaravelQueue::createPayloadUsing(function () use (&$fits): array {
            return ['large' => $fits];
        });
        $queue = Queue::connection('celery');

        $queue->push(new TaskCreated(1));
        $fits .= 'x';
        try {
            $queue->push(new TaskCreated(2));
            $this->fail('the header is too large');
        } catch (ArgumentCannotBeSent $e) {
            $this->assertStringContainsString('the argument laravel of the task [task_created] cannot be sent', $e->getMessage());
            $this->assertStringContainsString('have 65537 bytes, and a header takes 65536', $e->getMessage());
        }
        Celery::assertCount(1);
    }

    public function test_a_large_context_is_refused_by_every_way_to_post(): void
    {
        if (! class_exists(Context::class)) {
            $this->markTestSkipped('this Laravel has no Context');
        }
        Celery::fake();
        Context::add('large', str_repeat('x', 65_536));

        foreach ([
            fn () => TaskCreated::dispatch(1)->onConnection('celery'),
            fn () => Celery::post('a'),
            fn () => Celery::chain([Celery::task('a'), Celery::task('b')])->post(),
        ] as $way) {
            try {
                $way();
                $this->fail('the header is too large');
            } catch (ArgumentCannotBeSent $e) {
                $this->assertStringContainsString('a header takes 65536', $e->getMessage());
            }
        }
        Celery::assertNothingPosted();
    }

    public function test_without_callbacks_and_context_there_is_no_header(): void
    {
        Celery::fake();
        TaskCreated::dispatch(1)->onConnection('celery');
        Celery::post('a');

        foreach (Celery::posted() as $task) {
            $this->assertSame([], $task->fields);
        }
    }

    public function test_laravels_context_goes_with_every_post(): void
    {
        if (! class_exists(Context::class)) {
            $this->markTestSkipped('this Laravel has no Context');
        }
        Celery::fake();
        Context::add('trace', 'abc');
        Context::add('list', [1, 2]);
        Context::add('callback', new \ArrayIterator([1]));
        Context::addHidden('secret', 'hidden');

        TaskCreated::dispatch(1)->onConnection('celery');
        TaskCreated::dispatchSync(1);
        Celery::post('a');
        Celery::postMany([Celery::task('b')]);
        $this->app->make(Client::class)->task('c')->post();
        Celery::assertCount(5);

        foreach (Celery::posted() as $task) {
            $header = $task->fields['laravel'];
            $this->assertEquals((object) ['trace' => 'abc', 'list' => [1, 2]], $header['context']);
            Context::flush();
            Context::hydrate($header['illuminate:log:context']);
            $this->assertSame('abc', Context::get('trace'));
            $this->assertSame('hidden', Context::getHidden('secret'));
        }
    }

    public function test_the_context_is_that_of_the_post_and_not_of_the_commit(): void
    {
        if (! class_exists(Context::class)) {
            $this->markTestSkipped('this Laravel has no Context');
        }
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function (): void {
            Context::add('trace', 'inside');
            TaskCreated::dispatch(1)->onConnection('celery');
            Celery::post('a');
            Context::add('trace', 'later');
        });

        $this->assertSame(['inside', 'inside'], $fake->posted()->map(fn ($task) => $task->fields['laravel']['context']->trace)->all());
    }
}
