<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use Celery\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Events\TaskPosted;
use CeleryBridge\Events\TaskPosting;
use CeleryBridge\Outcomes\Listener;
use CeleryBridge\Outcomes\Settlement;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\TaskMessage;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\fixtures\jobs\TrainModel;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\ExtensionTransport;
use CeleryConnectionException;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use stdClass;

/**
 * Jobs whose program is killed between the commit of their row and the end of their post.
 */
final class OutboxTest extends TestCase
{
    private Broker $broker;

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.connections.default.url' => $this->broker->url]);
        $this->command('migrate', ['--force' => true]);
    }

    public function test_a_listener_posts_the_task_of_a_program_that_was_killed_before_the_post(): void
    {
        $row = $this->rowOfKilled(TaskPosting::class);
        $this->assertSame('POSTING', $row->state);
        $this->assertSame([], $this->broker->messages('celery'));

        $this->listener(60.0)->read();
        $this->assertSame([], $this->broker->messages('celery'), 'the program still has time');

        $this->listener()->read();
        $this->listener()->read();
        [$message] = $this->broker->messages('celery');
        $this->assertCount(1, $this->broker->messages('celery'));
        $this->assertSame([$row->id, 'ml.train'], [$message->headers->id, $message->headers->task]);
        $this->assertEquals((object) ['dataset' => 'mnist'], $message->kwargs);
        $this->assertSame([5, [1, 5]], [$message->headers->tries, $message->headers->backoff]);
        $this->assertEquals([30, null], $message->headers->timelimit);
        $this->assertSame('PENDING', DB::table('celery_jobs')->value('state'));
    }

    public function test_a_task_that_was_posted_before_its_program_was_killed_is_not_queued_twice(): void
    {
        $row = $this->rowOfKilled(TaskPosted::class);
        $this->assertSame('POSTING', $row->state);
        $this->assertCount(1, $this->broker->messages('celery'));

        $this->listener()->read();

        $this->assertCount(1, $this->broker->messages('celery'));
        $this->assertSame('PENDING', DB::table('celery_jobs')->value('state'));
    }

    public function test_a_row_is_claimed_by_one_listener_and_stays_until_the_broker_is_back(): void
    {
        $this->rowOfKilled(TaskPosting::class);
        $jobs = $this->app->make(TrackedJobs::class);
        $this->assertCount(1, $jobs->unposted('default', microtime(true), 60.0));
        $this->assertSame([], $jobs->unposted('default', microtime(true), 60.0));
        DB::table('celery_jobs')->update(['claimed_until' => null]);

        $away = $this->listener(post: static fn () => throw new CeleryConnectionException('away'));
        try {
            $away->read();
            $this->fail('the broker is away');
        } catch (CeleryConnectionException) {
        }
        $this->assertSame('POSTING', DB::table('celery_jobs')->value('state'));
        DB::table('celery_jobs')->update(['claimed_until' => 1.0]);
        $this->listener()->read();
        $this->assertCount(1, $this->broker->messages('celery'));
    }

    public function test_a_task_that_can_never_be_posted_is_a_failure(): void
    {
        $this->rowOfKilled(TaskPosting::class);
        DB::table('celery_jobs')->update(['payload' => '{}']);

        $this->listener()->read();

        $this->assertSame('FAILURE', DB::table('celery_jobs')->value('state'));
        $this->assertNotNull(DB::table('celery_jobs')->value('settled_at'));
    }

    public function test_rows_of_posts_that_ended_well_are_never_posted_again(): void
    {
        $queue = Queue::connection('celery');
        $queue->push(new TaskCreated(1));
        $queue->bulk([new TaskCreated(2), new TaskCreated(3), new TrainModel('mnist')]);
        DB::transaction(static fn () => $queue->push(new TaskCreated(4)));

        $this->assertSame(['PENDING'], DB::table('celery_jobs')->distinct()->pluck('state')->all());
        Event::fake([TaskPosting::class]);
        $this->listener()->read();
        Event::assertNotDispatched(TaskPosting::class);
        $this->assertCount(5, $this->broker->messages('celery'));
    }

    private function rowOfKilled(string $event): stdClass
    {
        $own = explode("\0", (string) file_get_contents('/proc/self/cmdline'));
        $extension = array_values(array_filter($own, static fn (string $option): bool => str_starts_with($option, 'extension=')));
        $process = proc_open([
            PHP_BINARY, ...($extension === [] ? [] : ['-d', $extension[0]]), Sandbox::bridge('tests/fixtures/app/dies.php'),
            $this->sandbox->path, $this->broker->url, $event,
        ], [1 => ['pipe', 'w'], 2 => ['pipe', 'w']], $pipes);
        $this->assertIsResource($process);
        $this->assertSame('', stream_get_contents($pipes[1]).stream_get_contents($pipes[2]));
        proc_close($process);

        return DB::table('celery_jobs')->sole();
    }

    private function listener(float $patience = 0.0, ?\Closure $post = null): Listener
    {
        $celery = $this->app->make(Factory::class);
        $transport = new ExtensionTransport($celery->settings());

        return new Listener(
            static fn (): Client => $transport->client(),
            'default',
            $this->app->make(TrackedJobs::class),
            new Settlement($this->app),
            post: $post ?? static fn (TaskMessage $task): array => $celery->connection()->postMany([$task]),
            patience: $patience,
        );
    }
}
