<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use Closure;
use Illuminate\Container\Container;
use Illuminate\Foundation\Application;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Facade;
use Laravel\Octane\Events\RequestReceived;

/**
 * Requests of one process, each with a copy of the application, as Octane's worker makes them. Octane
 * itself is not here.
 */
final class OctaneTest extends TestCase
{
    /** What Octane makes before the first request, as far as the tests use it. */
    private const WARM = ['cache', 'cache.store', 'config', 'db', 'db.factory', 'db.transactions', 'log', 'router', 'url', 'view'];

    private Broker $broker;

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.connections.default.url' => $this->broker->url]);
        if (! class_exists(RequestReceived::class)) {
            require_once __DIR__.'/../fixtures/RequestReceived.php';
        }
        foreach (self::WARM as $name) {
            $this->app->make($name);
        }
    }

    /** @dataProvider startsOfAProcess */
    #[\PHPUnit\Framework\Attributes\DataProvider('startsOfAProcess')] // PHPUnit 12 reads no comments.
    public function test_each_request_has_its_own_configuration(string ...$made): void
    {
        foreach ($made as $name) {
            $this->app->make($name);
        }
        if (in_array('queue', $made, true)) {
            $this->app->make('queue')->connection('celery')->size();
        }

        $this->request(function (Application $sandbox): void {
            $sandbox->make('config')->set('celery.connections.default.url', $this->broker->database(2));
            $this->postInEachWay($sandbox);
        });
        $this->assertSame([0, 3], [count($this->broker->messages('celery')), count($this->broker->messages('celery', 2))]);

        $this->request($this->postInEachWay(...));
        $this->assertSame([3, 3], [count($this->broker->messages('celery')), count($this->broker->messages('celery', 2))]);
    }

    /** @return iterable<string, list<string>> what an application makes before its first request */
    public static function startsOfAProcess(): iterable
    {
        yield 'nothing of ours' => [];
        yield 'the facade' => [Factory::class];
        yield 'the queue' => ['queue'];
        yield 'both' => [Factory::class, 'queue'];
    }

    public function test_requests_share_the_connection_and_what_is_known_of_the_table(): void
    {
        $this->command('migrate', ['--force' => true]);
        $this->request($this->postInEachWay(...));
        $asked = 0;
        DB::listen(static function (object $query) use (&$asked): void {
            $asked += (int) str_contains($query->sql, 'sqlite_master');
        });
        $connections = fn (): int => (int) $this->broker->redis()->info('stats')['total_connections_received'];
        $before = $connections();

        for ($request = 0; $request < 3; $request++) {
            $this->request($this->postInEachWay(...));
        }

        $this->assertSame([0, $before], [$asked, $connections()]);
        $this->assertSame(12, count($this->broker->messages('celery')));
        $this->assertSame(4, DB::table('celery_jobs')->count());
    }

    public function test_a_post_that_waits_belongs_to_its_request(): void
    {
        $this->request(function (Application $sandbox): void {
            DB::beginTransaction();
            $this->postInEachWay($sandbox);
            $this->assertSame([], $this->broker->messages('celery'));
            DB::rollBack();
        });

        $this->request(function (): void {
            DB::transaction(static fn () => Celery::post('b'));
        });
        $this->assertSame(['b'], array_map(static fn (object $message): string => $message->headers->task, $this->broker->messages('celery')));
    }

    private function postInEachWay(Application $sandbox): void
    {
        Celery::post('a');
        $sandbox->make(Client::class)->post('a');
        TaskCreated::dispatch(1)->onConnection('celery');
    }

    private function request(Closure $handle): void
    {
        $sandbox = clone $this->app;
        self::makeCurrent($sandbox);
        $sandbox->instance('config', clone $sandbox->make('config'));
        foreach (['db', 'queue'] as $manager) {
            if ($sandbox->resolved($manager)) {
                $sandbox->make($manager)->setApplication($sandbox);
            }
        }
        $sandbox->make('events')->dispatch(new RequestReceived($this->app, $sandbox));
        try {
            $handle($sandbox);
        } finally {
            $sandbox->flush();
            self::makeCurrent($this->app);
            foreach (['db', 'queue'] as $manager) {
                if ($this->app->resolved($manager)) {
                    $this->app->make($manager)->setApplication($this->app);
                }
            }
        }
    }

    private static function makeCurrent(Application $app): void
    {
        $app->instance('app', $app);
        $app->instance(Container::class, $app);
        Container::setInstance($app);
        Facade::clearResolvedInstances();
        Facade::setFacadeApplication($app);
    }
}
