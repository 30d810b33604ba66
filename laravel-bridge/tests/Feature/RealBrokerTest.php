<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Client;
use CeleryBridge\Events\TaskPosted;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\fixtures\jobs\TrainModel;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryConnectionException;
use CeleryException;
use DateTimeImmutable;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use LogicException;
use RuntimeException;
use stdClass;

/**
 * Posts through the extension to a real Redis.
 */
final class RealBrokerTest extends TestCase
{
    private Broker $broker;

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.connections.default.url' => $this->broker->url]);
    }

    public function test_a_post_is_a_celery_message(): void
    {
        $result = $this->app->make(Client::class)->post('proj.add', [2, 3]);

        [$message] = $this->broker->messages('celery');
        $this->assertSame('proj.add', $message->headers->task);
        $this->assertSame($result->id(), $message->headers->id);
        $this->assertSame([2, 3], $message->args);
        $this->assertEquals(new stdClass(), $message->kwargs);
        $this->assertSame('celery', $message->properties->delivery_info->routing_key);

        Celery::post('proj.add', ['x' => 2, 'y' => 3], 'ml', ['tenant' => 7]);
        [$message] = $this->broker->messages('ml');
        $this->assertSame([], $message->args);
        $this->assertEquals((object) ['x' => 2, 'y' => 3], $message->kwargs);
        $this->assertSame(7, $message->headers->tenant);
    }

    public function test_a_post_to_celery_goes_there_even_where_the_connection_has_another_queue(): void
    {
        config(['celery.connections.default.queue' => 'ml']);

        Celery::post('a');
        Celery::post('b', [], 'celery');

        $this->assertSame('a', $this->broker->messages('ml')[0]->headers->task);
        $this->assertSame('b', $this->broker->messages('celery')[0]->headers->task);
    }

    public function test_many_are_posted_each_to_its_queue(): void
    {
        $results = Celery::postMany([
            'x' => Celery::task('a', [1]),
            'y' => Celery::task('b', ['k' => 2])->onQueue('ml')->delay(60),
            'z' => Celery::task('c'),
        ]);

        $posted = $this->broker->messages('celery');
        $this->assertSame(['a', 'c'], array_map(fn (stdClass $message): string => $message->headers->task, $posted));
        $this->assertSame($results['x']->id(), $posted[0]->headers->id);
        $this->assertSame([1], $posted[0]->args);
        [$other] = $this->broker->messages('ml');
        $this->assertSame([$results['y']->id(), 'b'], [$other->headers->id, $other->headers->task]);
        $this->assertEquals((object) ['k' => 2], $other->kwargs);
        $this->assertNotNull($other->headers->eta);
    }

    public function test_a_dispatched_job_is_a_celery_message(): void
    {
        TrainModel::dispatch('mnist')->onConnection('celery')->onQueue('ml')->delay(60);

        [$message] = $this->broker->messages('ml');
        $this->assertSame('ml.train', $message->headers->task);
        $this->assertEquals((object) ['dataset' => 'mnist'], $message->kwargs);
        $this->assertEquals([30, null], $message->headers->timelimit);
        $this->assertSame(5, $message->headers->tries);
        $this->assertSame([1, 5], $message->headers->backoff);
        $this->assertGreaterThan(time() + 30, (new DateTimeImmutable($message->headers->eta))->getTimestamp());
    }

    public function test_a_bulk_is_no_round_trip_for_each(): void
    {
        $queue = Queue::connection('celery');
        $queue->push(new TaskCreated(0));
        $before = $this->broker->reads();

        $queue->bulk(array_map(static fn (int $id): TaskCreated => new TaskCreated($id), range(1, 50)));

        $this->assertLessThan(25, $this->broker->reads() - $before);
        $this->assertSame(51, $queue->size());
    }

    public function test_a_post_is_confirmed_even_where_php_ini_says_pipelined(): void
    {
        $this->broker->redis()->set('celery', 'no list');
        $before = ini_set('celery.publish', 'pipelined');
        $posted = false;
        Event::listen(TaskPosted::class, function () use (&$posted): void {
            $posted = true;
        });

        try {
            Celery::post('a');
            $this->fail('no exception was thrown for a post that the broker refused');
        } catch (CeleryException $e) {
            $this->assertStringContainsString('WRONGTYPE', $e->getMessage());
        } finally {
            ini_set('celery.publish', (string) $before);
        }
        $this->assertFalse($posted);
    }

    public function test_sizes_and_clearing_are_real(): void
    {
        $queue = Queue::connection('celery');
        $this->assertSame(0, $queue->size());

        $queue->bulk([new TaskCreated(1), new TaskCreated(2), new TaskCreated(3)]);
        Celery::post('urgent', [], null, ['priority' => 9]);
        Celery::post('elsewhere', [], 'ml');
        $this->broker->redis()->zAdd('unacked_index', 1, 'tag');

        $this->assertSame(4, $queue->size());
        $this->assertSame(4, $queue->pendingSize('celery'));
        $this->assertSame(1, $queue->size('ml'));
        $this->assertSame(1, $queue->reservedSize());

        [$code, $output] = $this->command('queue:clear', ['connection' => 'celery', '--queue' => 'celery', '--force' => true]);
        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString('4', $output);
        $this->assertSame([0, 1], [$queue->size(), $queue->size('ml')]);
    }

    public function test_the_extensions_own_client_has_the_connection_of_the_configuration(): void
    {
        config(['celery.connections.third' => ['url' => $this->broker->database(3), 'queue' => 'ml', 'timeout' => 0.25]]);
        Celery::native('third')->sendTask('a');

        $this->assertSame(['a'], array_map(static fn (object $message): string => $message->headers->task, $this->broker->messages('ml', 3)));
        $this->assertSame(['ml' => 1], Celery::native('third')->queueLengths('ml'));
        $this->assertSame([], Celery::native()->control()->inspect(timeout: 0.1)->ping());

        Celery::fake();
        $this->expectException(LogicException::class);
        $this->expectExceptionMessage('FakeClient');
        Celery::native();
    }

    public function test_purge_asks_and_deletes_what_waits(): void
    {
        Celery::post('a');
        Celery::post('b', [], 'ml');
        Celery::post('c', [], 'ml', ['priority' => 9]);
        $queue = Queue::connection('celery');

        [$code, $output] = $this->command('celery:purge', ['queues' => ['ml'], '--no-interaction' => true]);
        $this->assertSame([1, 2], [$code, $queue->size('ml')], $output);

        [$code, $output] = $this->command('celery:purge', ['queues' => ['ml'], '--force' => true, '--json' => true]);
        $this->assertSame([0, ['deleted' => 2, 'queues' => ['ml']]], [$code, json_decode($output, true)]);
        $this->assertSame([1, 0], [$queue->size(), $queue->size('ml')]);

        $this->command('celery:purge', ['--force' => true]);
        $this->assertSame(0, $queue->size());
    }

    public function test_the_lists_of_a_queue_are_those_of_the_configuration(): void
    {
        config([
            'celery.connections.default.priority_steps' => [0, 9],
            'celery.connections.default.sep' => ':',
        ]);
        Celery::post('usual');
        Celery::post('less', [], null, ['priority' => 8]);
        Celery::post('least', [], null, ['priority' => 9]);

        $redis = $this->broker->redis();
        $this->assertSame([2, 1], [$redis->lLen('celery'), $redis->lLen('celery:9')]);
        $this->assertSame(3, Queue::connection('celery')->size());
    }

    public function test_results_are_read_and_stay(): void
    {
        $result = Celery::post('proj.echo', [1]);
        $this->assertSame('PENDING', $result->status());
        $this->assertFalse($result->ready());

        $this->broker->finish($result->id(), 'STARTED', ['pid' => 1]);
        $this->assertSame('STARTED', $result->status());
        $this->assertFalse($result->ready());

        $this->assertEquals((object) ['pid' => 1], $result->progress());
        $this->broker->finish($result->id(), 'PROGRESS', ['done' => 3]);
        $this->assertSame('PROGRESS', $result->status());
        $this->assertEquals((object) ['done' => 3], $result->progress());

        $this->broker->finish($result->id(), 'SUCCESS', ['sum' => 5, 'list' => [1]]);
        $this->assertEquals((object) ['sum' => 5, 'list' => [1]], $result->get(5));
        $this->assertTrue($result->successful());
        $this->assertNull($result->traceback());
        $this->assertNull($result->progress());
        $this->assertTrue($this->broker->hasResult($result->id()));

        $again = Celery::result($result->id());
        $this->assertSame('SUCCESS', $again->status());
        $again->forget();
        $this->assertFalse($this->broker->hasResult($result->id()));
        $this->assertSame('PENDING', $again->status());
    }

    public function test_a_failure_is_raised_with_what_the_worker_said(): void
    {
        $result = Celery::post('proj.fail');
        $this->broker->finish(
            $result->id(),
            'FAILURE',
            ['exc_type' => 'ValueError', 'exc_message' => ['no such row', 7], 'exc_module' => 'builtins'],
            'Traceback (most recent call last): …',
        );

        $this->assertTrue($result->failed());
        $this->assertSame('Traceback (most recent call last): …', $result->traceback());
        try {
            $result->get(5);
            $this->fail('a failed task gave a value');
        } catch (TaskFailed $e) {
            $this->assertSame(['ValueError', 'FAILURE', $result->id()], [$e->type, $e->status, $e->taskId]);
            $this->assertStringContainsString('ValueError: no such row, 7', $e->getMessage());
            $this->assertSame('Traceback (most recent call last): …', $e->traceback);
        }
    }

    public function test_waiting_ends_at_its_time(): void
    {
        $result = Celery::post('slow');

        $this->expectException(ResultTimedOut::class);
        $this->expectExceptionMessage($result->id());
        $result->get(0.1);
    }

    public function test_results_may_be_on_another_server(): void
    {
        config(['celery.connections.default.result_backend' => $this->broker->database(5)]);
        $result = Celery::post('a');
        $this->broker->redis()->select(5);
        $this->broker->finish($result->id(), 'SUCCESS', 'there');
        $this->broker->redis()->select(0);

        $this->assertCount(1, $this->broker->messages('celery'));
        $this->assertSame('there', $result->get(5));
    }

    public function test_the_broker_may_be_one_of_laravels_own_connections(): void
    {
        config(['database.redis.tasks' => ['host' => $this->broker->host, 'port' => (string) $this->broker->port, 'database' => '3']]);
        config(['celery.connections.own' => ['redis' => 'tasks']]);
        config(['queue.connections.own' => ['driver' => 'celery', 'connection' => 'own']]);

        Celery::connection('own')->post('a');

        $this->assertCount(1, $this->broker->messages('celery', 3));
        $this->assertSame(1, Queue::connection('own')->size(), 'without the prefix of the application');
    }

    public function test_after_commit_and_rollback(): void
    {
        $this->createTasksTable();

        DB::transaction(function (): void {
            TaskCreated::dispatch(DB::table('tasks')->insertGetId(['name' => 'x']))->onConnection('celery');
            Celery::post('direct');
            $this->assertSame([], $this->broker->messages('celery'));
        });
        $this->assertCount(2, $this->broker->messages('celery'));

        try {
            DB::transaction(function (): void {
                Celery::post('dropped');

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }
        $this->assertCount(2, $this->broker->messages('celery'));
    }

    public function test_posted_is_raised_once_the_broker_has_the_task(): void
    {
        $there = null;
        Event::listen(TaskPosted::class, function (TaskPosted $event) use (&$there): void {
            $there = $this->broker->messages('celery')[0]->headers->id === $event->task->id;
        });

        Celery::post('a');

        $this->assertTrue($there);
    }

    public function test_with_the_broker_down_or_silent_a_post_throws(): void
    {
        // The kernel accepts its connections, and nothing answers.
        $server = stream_socket_server('tcp://127.0.0.1:0');
        $silent = stream_socket_get_name($server, false);
        foreach (['127.0.0.1:1' => 'refused', $silent => 'longer than 1s'] as $address => $reason) {
            config([
                'celery.connections.default.url' => "redis://:s3cret@$address",
                'celery.connections.default.timeout' => 1,
            ]);
            Celery::purge();

            try {
                Celery::post('a');
                $this->fail('it was posted');
            } catch (CeleryConnectionException $e) {
                $this->assertStringNotContainsString('s3cret', (string) $e);
                $this->assertStringContainsString($reason, $e->getMessage());
            }
        }
    }

    public function test_arguments_that_cannot_be_sent_are_refused(): void
    {
        $this->expectException(CeleryException::class);

        try {
            Celery::post('a', ["\xff"]);
        } finally {
            $this->assertSame([], $this->broker->messages('celery'));
        }
    }

    public function test_settings_of_a_call_are_put_back(): void
    {
        config(['celery.connections.default.timeout' => 1.5]);
        $before = [ini_get('celery.post_timeout'), ini_get('celery.keep_results')];

        Celery::post('a')->ready();

        $this->assertSame($before, [ini_get('celery.post_timeout'), ini_get('celery.keep_results')]);
    }

    public function test_revoking_tells_the_workers(): void
    {
        config(['celery.connections.default.result_backend' => $this->broker->database(5)]);
        $heard = $this->broker->listen('/0.celery.pidbox');

        Celery::revoke('one');
        Celery::result('two')->revoke();
        [$code] = $this->command('celery:revoke', ['id' => ['three']]);

        $this->assertSame(0, $code);
        foreach (['one', 'two', 'three'] as $id) {
            $order = json_decode(base64_decode(json_decode($heard(), false)->body));
            $this->assertSame('revoke', $order->method);
            $this->assertSame([$id], (array) $order->arguments->task_id);
        }
    }

    public function test_the_doctor_finds_the_servers_but_no_worker(): void
    {
        config(['celery.connections.default.result_backend' => $this->broker->database(5)]);

        [$code, $output] = $this->command('celery:doctor', ['--json' => true]);
        $checks = array_column(json_decode($output, true)['checks'], null, 'check');

        $this->assertSame(1, $code, $output);
        $this->assertFalse($checks['default: workers']['ok']);
        $this->assertStringContainsString('none answered', $checks['default: workers']['detail']);
        $this->assertTrue($checks['default: broker']['ok']);
        $this->assertStringContainsString('answers in', $checks['default: broker']['detail']);
        $this->assertStringContainsString('answers in', $checks['default: result backend']['detail']);
    }

    public function test_commands_work_with_the_real_thing(): void
    {
        [$code, $output] = $this->command('celery:post', ['task' => 'a', 'args' => ['1'], '--json' => true]);
        $this->assertSame(0, $code, $output);
        $id = json_decode($output, true)['id'];

        [$code] = $this->command('celery:result', ['id' => $id]);
        $this->assertSame(2, $code);

        $this->broker->finish($id, 'SUCCESS', 6);
        [$code, $output] = $this->command('celery:result', ['id' => $id, '--json' => true]);
        $this->assertSame(0, $code);
        $this->assertSame(6, json_decode($output, true)['result']);
    }
}
