<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Support\Facades\Queue;
use Redis;

/**
 * A Redis Cluster as broker: posts, results, lengths and the doctor.
 */
final class ClusterTest extends TestCase
{
    protected function config(): array
    {
        return ['queue' => self::queueConfig()];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->needExtension();
        if (getenv('CLUSTER_URL') === false) {
            $this->markTestSkipped('no cluster: testkit up cluster');
        }
        config(['celery.connections.default' => ['url' => explode(';', (string) getenv('CLUSTER_URL'))]]);
    }

    public function test_posts_results_lengths_and_the_doctor(): void
    {
        $owner = new Redis;
        $owner->connect('127.0.0.1', (int) explode(' ', (string) getenv('CLUSTER_PORTS'))[0]);
        $owner->flushAll();
        $result = Celery::post('proj.add', [2, 3]);
        Celery::post('elsewhere', [], 'ml');

        $this->assertSame([1, 1], [$owner->lLen('{celery}:celery'), $owner->lLen('{celery}:ml')]);
        $document = ['status' => 'SUCCESS', 'result' => 5, 'traceback' => null, 'children' => [], 'task_id' => $result->id()];
        $owner->setex("{celery}:celery-task-meta-{$result->id()}", 60, (string) json_encode($document));
        $this->assertSame(5, $result->get(10));
        $queue = Queue::connection('celery');
        $this->assertSame([1, 1, 0], [$queue->size(), $queue->size('ml'), $queue->reservedSize()]);
        [$code, $output] = $this->command('queue:clear', ['connection' => 'celery', '--force' => true]);
        $this->assertSame([0, 0, 1], [$code, $queue->size(), $queue->size('ml')], $output);

        [, $output] = $this->command('celery:doctor', ['--json' => true]);
        $checks = array_column(json_decode($output, true)['checks'], null, 'check');
        $this->assertTrue($checks['default: broker']['ok'], $output);
        $this->assertStringContainsString('?prefix={celery}:', $checks['default: broker']['detail']);
    }
}
