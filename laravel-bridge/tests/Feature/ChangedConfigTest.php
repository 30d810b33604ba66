<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Contracts\Queue\Factory as Queues;

/**
 * A configuration that changes while the application runs, as in an application with many tenants.
 * Like Laravel's own connections, a connection keeps all its old settings until it is forgotten,
 * and then has all the new ones.
 */
final class ChangedConfigTest extends TestCase
{
    private Broker $broker;

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery' => ['default' => 'default', 'connections' => [
            'default' => ['url' => $this->broker->database(1), 'queue' => 'old'],
            'tenant' => ['url' => $this->broker->database(3), 'queue' => 'old'],
        ]]]);
    }

    public function test_a_connection_in_use_keeps_what_it_began_with(): void
    {
        $this->assertPostedTo('1/old');
        config(['celery.connections.default' => ['url' => $this->broker->database(2), 'queue' => 'new']]);

        $this->assertPostedTo('1/old');
        $this->assertSame('old', Celery::settings()->queue);
        $this->assertSame($this->broker->database(1), Celery::settings()->broker->display());
    }

    public function test_the_queue_driver_counts_where_it_posts(): void
    {
        $queue = $this->app->make(Queues::class)->connection('celery');
        Celery::post('task');
        config(['celery.connections.default' => ['url' => $this->broker->database(2), 'queue' => 'new']]);

        Celery::post('task');
        $this->assertSame(2, $queue->size());
        Celery::forgetConnections();
        $this->assertSame(0, $queue->size());
        Celery::post('task');
        $this->assertSame(1, $queue->size());
    }

    public function test_a_connection_that_was_only_looked_at_keeps_what_it_began_with(): void
    {
        $queue = $this->app->make(Queues::class)->connection('celery');
        $this->assertSame(0, $queue->size());
        config(['celery.connections.default.url' => $this->broker->database(2)]);

        $this->assertPostedTo('1/old');
    }

    public function test_forgotten_connections_are_all_new(): void
    {
        $this->assertPostedTo('1/old');
        config(['celery.connections.default' => [
            'url' => $this->broker->database(2), 'queue' => 'new', 'result_backend' => $this->broker->database(4),
        ]]);
        Celery::forgetConnections();

        $this->assertPostedTo('2/new');
        $this->assertSame($this->broker->database(4), Celery::settings()->resultBackend?->display());
    }

    public function test_one_connection_can_be_forgotten(): void
    {
        $this->assertPostedTo('1/old');
        $this->assertPostedTo('3/old', 'tenant');
        config(['celery.connections.default.queue' => 'new', 'celery.connections.tenant.queue' => 'new']);
        Celery::purge('tenant');

        $this->assertPostedTo('1/old');
        $this->assertPostedTo('3/new', 'tenant');
        Celery::purge();
        $this->assertPostedTo('1/new');
    }

    public function test_another_default_counts_at_once(): void
    {
        $this->assertPostedTo('1/old');
        config(['celery.default' => 'tenant']);
        $this->assertPostedTo('3/old');
        $this->assertSame('tenant', Celery::settings()->name);
        config(['celery.default' => 'default']);
        $this->assertPostedTo('1/old');
    }

    public function test_a_connection_added_later_is_there(): void
    {
        $this->assertPostedTo('1/old');
        config(['celery.connections.fresh' => ['url' => $this->broker->database(4), 'queue' => 'new']]);
        $this->assertPostedTo('4/new', 'fresh');
    }

    public function test_a_connection_that_was_refused_can_be_put_right(): void
    {
        config(['celery.connections.default' => ['broker' => $this->broker->database(2)]]);
        try {
            Celery::post('task');
            $this->fail('a misspelt key was passed over');
        } catch (InvalidConfiguration $e) {
            $this->assertStringContainsString('"url" is probably meant', $e->getMessage());
        }
        config(['celery.connections.default' => ['url' => $this->broker->database(2), 'queue' => 'new']]);

        $this->assertPostedTo('2/new');
    }

    /**
     * Posts a task and looks for it in every database and queue of these tests.
     */
    private function assertPostedTo(string $place, ?string $connection = null): void
    {
        $this->broker->flush();
        Celery::connection($connection)->post('task');

        $found = [];
        foreach ([0, 1, 2, 3, 4] as $database) {
            foreach (['celery', 'old', 'new'] as $queue) {
                $found = [...$found, ...array_fill(0, count($this->broker->messages($queue, $database)), "{$database}/{$queue}")];
            }
        }
        $this->assertSame([$place], $found);
    }
}
