<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Events\TaskFailed;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryTests\Background;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;

foreach (['Background', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * A Redis that a real Sentinel names: posts, results, lengths, outcomes and the doctor.
 */
final class SentinelTest extends TestCase
{
    private Broker $broker;

    private Background $sentinel;

    protected function config(): array
    {
        return ['queue' => self::queueConfig()];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        $free = stream_socket_server('tcp://127.0.0.1:0');
        $port = (int) substr((string) strrchr((string) stream_socket_get_name($free, false), ':'), 1);
        fclose($free);
        $folder = "{$this->sandbox->path}/storage/logs";
        $this->sandbox->write('storage/logs/sentinel.conf', <<<CONF
            port {$port}
            bind 127.0.0.1
            dir {$folder}
            requirepass hunterhush
            sentinel monitor tasks 127.0.0.1 {$this->broker->port} 1
            sentinel down-after-milliseconds tasks 600000
            CONF);
        $this->sentinel = new Background(['redis-server', "{$folder}/sentinel.conf", '--sentinel']);
        $this->sentinel->waitForText('+monitor master tasks', 30);
        config(['celery.connections.default' => [
            'url' => ['sentinel://127.0.0.1:1', "sentinel://127.0.0.1:{$port}"],
            'master_name' => 'tasks',
            'sentinel_password' => 'hunterhush',
        ]]);
    }

    public function test_posts_results_and_lengths(): void
    {
        $result = Celery::post('proj.add', [2, 3]);
        Celery::post('elsewhere', [], 'ml');

        $this->assertSame([[2, 3]], array_column($this->broker->messages('celery'), 'args'));
        $this->broker->finish($result->id(), 'SUCCESS', 5);
        $this->assertSame(5, $result->get(10));
        $queue = Queue::connection('celery');
        $this->assertSame([1, 1, 0], [$queue->size(), $queue->size('ml'), $queue->reservedSize()]);
        [$code, $output] = $this->command('queue:clear', ['connection' => 'celery', '--force' => true]);
        $this->assertSame([0, 0, 1], [$code, $queue->size(), $queue->size('ml')], $output);
    }

    public function test_outcomes_and_the_doctor(): void
    {
        $this->command('migrate', ['--force' => true]);
        $this->createFailedJobsTable();
        $this->createTasksTable();
        Event::fake([TaskFailed::class]);
        $id = (string) Queue::connection('celery')->push(new TaskCreated(1));
        $this->broker->finish($id, 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['no'], 'exc_module' => 'builtins']);

        [$code, $output] = $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(0, $code, $output);
        Event::assertDispatchedTimes(TaskFailed::class, 1);
        $this->assertSame([$id], DB::table('failed_jobs')->pluck('uuid')->all());

        [, $output] = $this->command('celery:doctor', ['--json' => true]);
        $this->assertStringNotContainsString('hunterhush', $output);
        $checks = array_column(json_decode($output, true)['checks'], null, 'check');
        $this->assertTrue($checks['default: broker']['ok'], $output);
        $this->assertStringContainsString('sentinel://127.0.0.1:1;sentinel://127.0.0.1:', $checks['default: broker']['detail']);
        $this->assertStringContainsString('none answered', $checks['default: workers']['detail']);
    }
}
