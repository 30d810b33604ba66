<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Dashboard\Authorize;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Auth\AuthServiceProvider;
use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Auth\Access\Gate;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Application;
use Illuminate\Routing\Router;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;

/**
 * Who sees the dashboard, and what its pages show and do. The tests with workers are in the
 * repository's suite.
 */
final class DashboardTest extends TestCase
{
    private const MARKUP = '<script>alert("x")</script>';

    protected function config(): array
    {
        return [
            'celery' => ['dashboard' => ['enabled' => true, 'path' => 'celery', 'middleware' => ['web']]],
            'auth' => [
                'defaults' => ['guard' => 'web'],
                'guards' => ['web' => ['driver' => 'header']],
            ],
            'session' => self::sessionConfig('array'),
            'queue' => self::queueConfig(),
        ];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->app->register(AuthServiceProvider::class);
        $this->app->make('auth')->viaRequest('header', static fn ($request) => $request->header('X-User') === null
            ? null
            : new GenericUser(['id' => $request->header('X-User')]));
        $this->openDashboard();
    }

    public function test_it_is_off_by_default(): void
    {
        $package = require __DIR__.'/../../config/celery.php';
        $this->assertFalse($package['dashboard']['enabled']);

        $this->sandbox->write('config/celery.php', '<?php return [];');
        $app = $this->sandbox->boot();
        $this->assertFalse($app->make('router')->has('celery.overview'));
    }

    public function test_its_path_can_be_changed(): void
    {
        $this->sandbox->write('config/celery.php', '<?php return ["dashboard" => ["enabled" => true, "path" => "/admin/tasks/"]];');
        $app = $this->sandbox->boot();

        $this->assertSame('admin/tasks', $app->make('router')->getRoutes()->getByName('celery.overview')?->uri());
    }

    public function test_its_routes_can_be_cached(): void
    {
        // The command boots the application anew, from its file.
        $autoload = var_export(dirname(__DIR__).'/bootstrap.php', true);
        $class = '\\'.Sandbox::class;
        $this->sandbox->write('bootstrap/app.php', "<?php require_once {$autoload}; return {$class}::application(dirname(__DIR__));");
        [$code, $output] = $this->command('route:cache');
        $this->assertSame(0, $code, $output);

        $app = $this->sandbox->boot();
        $this->assertTrue($app->routesAreCached());
        // As the framework's provider of routes does, which the sandbox lacks.
        require $app->getCachedRoutesPath();
        $this->assertSame(self::addresses($this->app->make('router')), self::addresses($app->make('router')));
        $gated = $app->make('router')->getRoutes()->getByName('celery.overview')?->gatherMiddleware();
        $this->assertContains(Authorize::class, (array) $gated);
    }

    public function test_without_a_gate_it_refuses_each_route(): void
    {
        $this->environment('production');
        $token = $this->token();
        $addresses = self::addresses($this->app->make('router'));
        $this->assertContains(['GET', '/celery/jobs/1-0'], $addresses);
        $this->assertGreaterThan(12, count($addresses));
        foreach ($addresses as [$method, $address]) {
            foreach ([[], ['HTTP_X_USER' => '1']] as $user) {
                $this->call($method, $address, ['_token' => $token], [], [], $user)->assertStatus(403);
            }
        }
    }

    /** @return list<array{string, string}> method and address of each route of the dashboard */
    private static function addresses(Router $router): array
    {
        $addresses = [];
        foreach ($router->getRoutes() as $route) {
            if (str_starts_with((string) $route->getName(), 'celery.')) {
                $addresses[] = [$route->methods()[0], '/'.preg_replace('/\{\w+\??\}/', '1-0', $route->uri())];
            }
        }

        return $addresses;
    }

    public function test_each_route_is_in_the_group_with_the_gate(): void
    {
        foreach ($this->app->make('router')->getRoutes() as $route) {
            if (str_starts_with($route->uri(), 'celery')) {
                $this->assertContains(Authorize::class, $route->gatherMiddleware(), $route->uri());
            }
        }
    }

    public function test_the_gate_decides_by_the_user(): void
    {
        $this->environment('production');
        $this->app->make(Gate::class)->define('viewCelery', static fn ($user): bool => $user->id === '7');

        foreach ([[[], 403], [['X-User' => '6'], 403], [['X-User' => '7'], 200]] as [$headers, $status]) {
            $this->app->make('auth')->forgetGuards();
            $this->get('/celery/jobs', $headers)->assertStatus($status);
        }
    }

    public function test_actions_need_the_token_of_the_session(): void
    {
        $actions = array_filter(self::addresses($this->app->make('router')), static fn (array $route): bool => $route[0] === 'POST');
        $this->assertGreaterThan(3, count($actions));
        foreach ($actions as [$method, $address]) {
            $this->call($method, $address, ['id' => 'a', 'places' => ['1-0']])->assertStatus(419);
        }
    }

    public function test_pages_run_no_code_but_their_own(): void
    {
        $page = $this->get('/celery/jobs')->assertOk();
        $this->assertStringContainsString("script-src 'self'", (string) $page->headers->get('Content-Security-Policy'));
        $this->assertStringContainsString('no-store', (string) $page->headers->get('Cache-Control'));
        $html = (string) $page->getContent();
        $this->assertDoesNotMatchRegularExpression('/<script(?![^>]* src=)|<style| style=| on[a-z]+=/i', $html);
        preg_match_all('/(?:src|rel="stylesheet" href)="([^"]+)"/', $html, $files);
        $this->assertCount(2, $files[1]);
        foreach ($files[1] as $file) {
            $answer = $this->get(html_entity_decode($file))->assertOk();
            $tag = (string) $answer->headers->get('ETag');
            $this->get(html_entity_decode($file), ['If-None-Match' => $tag])->assertStatus(304);
        }
        $this->get('/celery/assets/composer.json')->assertStatus(404);
    }

    public function test_it_says_that_history_is_not_recorded(): void
    {
        $this->get('/celery/jobs')->assertOk()->assertSee('History is not recorded');
    }

    public function test_it_says_that_no_listener_runs(): void
    {
        $this->connect();
        $this->command('migrate', ['--force' => true]);
        $this->get('/celery/jobs')->assertDontSee('History is not recorded')->assertSee('Outcomes are not recorded');

        $this->command('celery:listen', ['--once' => true]);
        $this->get('/celery/jobs')->assertDontSee('Outcomes are not recorded');
    }

    public function test_names_and_arguments_are_shown_as_text(): void
    {
        $this->jobsTables();
        $id = $this->dispatched();
        $payload = json_decode((string) DB::table('celery_jobs')->value('payload'), true);
        $payload['displayName'] = self::MARKUP;
        $payload['celery']['args'] = [self::MARKUP, '"><img src=x onerror=alert(1)>'];
        DB::table('celery_jobs')->update([
            'task' => self::MARKUP, 'queue' => self::MARKUP, 'state' => 'FAILURE', 'payload' => json_encode($payload),
            'outcome' => json_encode(['state' => 'FAILURE', 'type' => self::MARKUP, 'message' => self::MARKUP, 'traceback' => self::MARKUP]),
        ]);

        foreach (['/celery/jobs', "/celery/jobs/{$id}", '/celery/jobs?fragment=1'] as $address) {
            $html = (string) $this->get($address)->assertOk()->getContent();
            $this->assertStringContainsString('&lt;script&gt;alert(', $html, $address);
            $this->assertStringNotContainsString('<script>alert', $html, $address);
            $this->assertStringNotContainsString('<img', $html, $address);
        }
    }

    public function test_jobs_are_filtered_and_come_newest_first_in_pages(): void
    {
        $this->jobsTables();
        $states = [3 => 'FAILURE', 4 => 'PENDING', 5 => 'POSTING', 6 => 'RETRY'];
        for ($job = 0; $job < 51; $job++) {
            DB::table('celery_jobs')->insert([
                'id' => "job-{$job}", 'celery_connection' => 'default', 'queue_connection' => 'celery', 'queue' => 'celery',
                'task' => 'task', 'payload' => '{}', 'state' => $states[$job] ?? 'SUCCESS', 'created_at' => (float) $job,
            ]);
        }

        $first = $this->getJson('/celery/jobs')->json();
        $this->assertSame(['job-50', 'job-1'], [$first['jobs'][0]['id'], $first['jobs'][49]['id']]);
        $this->assertTrue($first['more']);
        $second = $this->getJson('/celery/jobs?page=2')->json();
        $this->assertSame(['job-0'], array_column($second['jobs'], 'id'));
        $this->assertFalse($second['more']);
        $this->assertSame(['job-3'], array_column($this->getJson('/celery/jobs?filter=failed')->json()['jobs'], 'id'));
        $open = array_column($this->getJson('/celery/jobs?filter=open')->json()['jobs'], 'id');
        $this->assertSame(['job-6', 'job-5', 'job-4'], $open);
        $this->getJson('/celery/jobs?filter=other')->assertStatus(404);
        $this->getJson('/celery/jobs?connection=other')->assertStatus(404);
        $this->getJson('/celery/jobs/other')->assertStatus(404);
    }

    public function test_a_failed_job_shows_its_exception_and_is_retried_once(): void
    {
        $broker = $this->connect();
        $this->jobsTables();
        $id = $this->dispatched();
        $broker->finish($id, 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['no such row'], 'exc_module' => 'builtins'], 'line 7');
        $this->command('celery:listen', ['--once' => true]);
        $broker->flush();

        $this->get("/celery/jobs/{$id}")->assertSee('ValueError: no such row')->assertSee('line 7')->assertSee('Retry');
        $token = $this->token();
        $this->postJson("/celery/jobs/{$id}/retry", ['_token' => $token])->assertOk();
        $this->postJson("/celery/jobs/{$id}/retry", ['_token' => $token])->assertStatus(409);

        $this->assertCount(1, $broker->messages('celery'));
        $this->assertSame(0, DB::table('failed_jobs')->count());
        $this->get("/celery/jobs/{$id}")->assertOk()->assertDontSee('id="retry"', false);
    }

    public function test_a_retry_that_cannot_be_posted_leaves_the_failed_job(): void
    {
        $broker = $this->connect();
        $this->jobsTables();
        $id = $this->dispatched();
        $broker->finish($id, 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['no'], 'exc_module' => 'builtins']);
        $this->command('celery:listen', ['--once' => true]);

        config(['celery.connections.default.url' => 'redis://127.0.0.1:1', 'celery.connections.default.timeout' => 0.2]);
        $this->app->make(\CeleryBridge\Contracts\Factory::class)->forgetConnections();
        $this->postJson("/celery/jobs/{$id}/retry", ['_token' => $this->token()])->assertStatus(502);

        $this->assertSame([$id], DB::table('failed_jobs')->pluck('uuid')->all());
    }

    public function test_the_overview_works_while_the_broker_is_down(): void
    {
        config(['celery.connections.default.url' => 'redis://:s3cret@127.0.0.1:1', 'celery.connections.default.timeout' => 0.2]);
        if (! extension_loaded('celery')) {
            $this->markTestSkipped('the extension is not loaded');
        }

        $page = $this->get('/celery')->assertOk()->assertSee('The workers cannot be asked');
        $this->assertStringNotContainsString('s3cret', (string) $page->getContent());
    }

    public function test_the_overview_has_the_lengths_of_queues_without_workers(): void
    {
        $broker = $this->connect();
        config(['queue.connections.reports' => ['driver' => 'celery', 'queue' => 'reports']]);
        $broker->redis()->lPush('reports', 'a', 'b');

        $state = $this->getJson('/celery')->assertOk()->json();
        $this->assertSame([], $state['workers']);
        $this->assertSame(
            [['name' => 'celery', 'length' => 0, 'consumers' => 0], ['name' => 'reports', 'length' => 2, 'consumers' => 0]],
            $state['queues'],
        );

        // Another viewer gets the same answer.
        $broker->redis()->lPush('reports', 'c');
        $reads = $broker->reads();
        $this->assertSame($state['at'], $this->getJson('/celery')->json()['at']);
        $this->assertSame($reads + 1, $broker->reads());
    }

    public function test_the_page_of_a_queue_counts_what_waits_by_name(): void
    {
        $broker = $this->connect();
        $this->getJson('/celery/queue?queue=other')->assertOk()->assertJson(['length' => 0, 'tasks' => []]);
        for ($task = 0; $task < 205; $task++) {
            Celery::post($task % 2 === 0 ? 'even' : 'odd', [self::MARKUP, $task], 'mails', $task === 0 ? ['countdown' => 600] : []);
        }
        Celery::post('later', [], 'mails', ['priority' => 9]);
        $broker->redis()->rPush('mails', 'no message');

        $page = $this->getJson('/celery/queue?queue=mails')->assertOk()->json();
        $this->assertSame([207, 200, 50], [$page['length'], $page['read'], count($page['tasks'])]);
        $this->assertSame(['even' => 100, 'odd' => 99, 'unreadable' => 1], $page['names']);
        $this->assertSame([null, 'even', 'odd'], array_column(array_slice($page['tasks'], 0, 3), 'task'));
        $this->assertNotNull($page['tasks'][1]['eta']);

        $html = (string) $this->get('/celery/queue?queue=mails')->assertOk()->assertSee('207 tasks wait')->getContent();
        $this->assertStringContainsString('&lt;script&gt;alert(', $html);
        $this->assertStringNotContainsString('<script>alert', $html);
        $this->assertSame(206, $broker->redis()->lLen('mails'));
        $this->get('/celery/queue')->assertStatus(404);
        $this->get('/celery/queue?queue[]=a')->assertStatus(404);
        $broker->redis()->set('text', '1');
        $this->get('/celery/queue?queue=text')->assertOk()->assertSee('The queue cannot be read');
    }

    private function connect(): Broker
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);

        return $broker;
    }

    private function jobsTables(): void
    {
        $this->connect();
        $this->command('migrate', ['--force' => true]);
        $this->createTasksTable();
        $this->createFailedJobsTable();
    }

    private function dispatched(): string
    {
        return (string) Queue::connection('celery')->push(new TaskCreated(1));
    }

    /** Outside "testing", so that the token of a form is checked. */
    private function environment(string $name): void
    {
        assert($this->app instanceof Application && $this->app->bound(Kernel::class));
        $this->app->instance('env', $name);
    }
}
