<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\ExtensionTransport;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * What the dashboard shows and does with workers in Rust, in Python, and with both.
 */
final class DashboardOnWorkersTest extends TestCase
{
    private string $url;

    protected function config(): array
    {
        return self::dashboardConfig();
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->url = $this->broker()->url;
        config(['celery.connections.default.url' => $this->url]);
        $this->openDashboard();
    }

    /** @dataProvider fleets */
    #[\PHPUnit\Framework\Attributes\DataProvider('fleets')] // PHPUnit 12 reads no comments.
    public function test_it_shows_what_workers_run_and_revokes_what_waits(string ...$fleet): void
    {
        $workers = array_map(fn (string $kind): Background => $this->worker($kind), $fleet);
        $names = $fleet;
        sort($names);

        // Each worker runs one task at a time, and holds no other.
        foreach ($fleet as $kind) {
            Celery::post('proj.sleep', [120], "only-{$kind}", ['id' => "long-{$kind}"]);
            Celery::post('proj.echo', ['<script>x</script>'], "only-{$kind}", ['id' => "late-{$kind}", 'countdown' => 600]);
        }

        $state = $this->state(static fn (array $state): bool => count($state['running']) === count($fleet)
            && count($state['waiting']) === count($fleet));
        $this->assertSame($names, array_map(static fn (array $worker): string => explode('@', $worker['name'])[0], $state['workers']));
        $this->assertSame(array_fill(0, count($fleet), 1), array_column($state['workers'], 'concurrency'));
        $running = array_column($state['running'], null, 'id');
        foreach ($fleet as $kind) {
            $this->assertSame('proj.sleep', $running["long-{$kind}"]['name']);
            $this->assertStringContainsString('120', $running["long-{$kind}"]['arguments']);
            $this->assertStringStartsWith("{$kind}@", $running["long-{$kind}"]['worker']);
            $queue = array_column($state['queues'], null, 'name')["only-{$kind}"];
            $this->assertSame(1, $queue['consumers']);
        }
        $html = (string) $this->get('/celery')->assertOk()->getContent();
        $this->assertStringContainsString('&lt;script&gt;x', $html);
        $this->assertStringNotContainsString('<script>x', $html);

        foreach ($fleet as $kind) {
            $this->postJson('/celery/revoke', ['_token' => $this->token(), 'id' => "late-{$kind}"])->assertOk();
        }
        foreach ($workers as $index => $worker) {
            $revoked = Wait::until('the revocation', 30, function () use ($fleet, $index): ?array {
                $revoked = array_merge(...array_values($this->revoked()));

                return in_array("late-{$fleet[$index]}", $revoked, true) ? $revoked : null;
            });
            $this->assertNotContains("long-{$fleet[$index]}", $revoked);
            $this->postJson('/celery/revoke', ['_token' => $this->token(), 'id' => "long-{$fleet[$index]}", 'terminate' => '1'])->assertOk();
        }
        $this->state(static fn (array $state): bool => $state['running'] === []);
        foreach ($workers as $worker) {
            $worker->stop();
        }
    }

    /** @dataProvider kinds */
    #[\PHPUnit\Framework\Attributes\DataProvider('kinds')] // PHPUnit 12 reads no comments.
    public function test_it_stops_a_running_task(string $kind): void
    {
        $worker = $this->worker($kind);
        $result = Celery::post('proj.sleep', [600], "only-{$kind}", ['id' => 'long']);
        $this->state(static fn (array $state): bool => array_column($state['running'], 'id') === ['long']);

        $this->post('/celery/revoke', ['_token' => $this->token(), 'id' => 'long', 'terminate' => '1'])
            ->assertRedirect(route('celery.overview', ['connection' => 'default']));

        Wait::until('the end of the task', 60, static fn (): bool => $result->status() === 'REVOKED');
        $this->state(static fn (array $state): bool => $state['running'] === []);
        $worker->stop();
    }

    /** @return iterable<string, list<string>> */
    public static function fleets(): iterable
    {
        yield 'Rust' => ['rust'];
        yield 'Python' => ['python'];
        yield 'mixed' => ['rust', 'python'];
    }

    /** @return iterable<string, list<string>> */
    public static function kinds(): iterable
    {
        yield 'Rust' => ['rust'];
        yield 'Python' => ['python'];
    }

    /**
     * @param  callable(array<string, mixed>): bool  $condition
     * @return array<string, mixed>
     */
    private function state(callable $condition): array
    {
        return Wait::until('the state of the overview', 60, function () use ($condition): ?array {
            $state = $this->getJson('/celery')->assertOk()->json();

            return $condition($state) ? $state : null;
        });
    }

    /** @return array<string, list<string>> */
    private function revoked(): array
    {
        return (new ExtensionTransport(Celery::settings()))->client()->control()->inspect()->revoked();
    }

    private function worker(string $kind): Background
    {
        try {
            $command = $kind === 'python'
                ? [Programs::python('5.7'), '-m', 'celery', '-A', 'proj', 'worker', '-P', 'prefork', '--prefetch-multiplier', '4']
                : [Programs::path('examples/playground'), '-b', $this->url, '--result-backend', $this->url];
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $worker = new Background(
            [...$command, '-l', 'info', '-c', '1', '-Q', "only-{$kind}", '-n', "{$kind}@%h"],
            ['REDIS_URL' => $this->url, 'TRANSPORT_OPTIONS' => '{}', 'PYTHONDONTWRITEBYTECODE' => '1', 'PYTHONUNBUFFERED' => '1'],
            Programs::root().'/php-tests/interop/python',
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }
}
