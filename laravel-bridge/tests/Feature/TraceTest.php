<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Route;

/**
 * Tasks continue the trace of the request or of the span that posts them.
 */
final class TraceTest extends TestCase
{
    private const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

    public function test_every_kind_of_post_has_the_headers_of_the_request(): void
    {
        Celery::fake();
        Route::get('/post', static function (): string {
            Celery::post('one');
            Celery::postMany([Celery::task('a'), Celery::task('b')]);
            Celery::chain([Celery::task('c'), new TaskCreated(1)])->post();
            Queue::connection('celery')->push(new TaskCreated(2));

            return 'posted';
        });

        $this->get('/post', ['traceparent' => self::PARENT, 'tracestate' => 'vendor=x'])->assertSee('posted');
        Celery::assertCount(6);
        foreach (Celery::posted() as $task) {
            $this->assertSame([self::PARENT, 'vendor=x'], [$task->fields['traceparent'] ?? null, $task->fields['tracestate'] ?? null], $task->name);
        }

        // The next request of this process has none.
        $this->get('/post')->assertSee('posted');
        $this->assertCount(6, Celery::posted()->filter(static fn ($task): bool => ! isset($task->fields['traceparent'])));
    }

    public function test_a_header_that_is_wrong_or_given_counts_less(): void
    {
        Celery::fake();
        foreach (['', 'x', self::PARENT.'-more', "00-\n"] as $wrong) {
            $this->app->instance('request', Request::create('/', 'GET', [], [], [], ['HTTP_TRACEPARENT' => $wrong, 'HTTP_TRACESTATE' => 'a=b']));
            Celery::post('wrong');
        }
        $this->app->instance('request', Request::create('/', 'GET', [], [], [], ['HTTP_TRACEPARENT' => self::PARENT, 'HTTP_TRACESTATE' => str_repeat('a', 513)]));
        Celery::post('long');
        Celery::task('own')->with(['traceparent' => 'mine'])->post();

        $headers = Celery::posted()->map(static fn ($task): array => array_intersect_key($task->fields, ['traceparent' => 0, 'tracestate' => 0]))->all();
        $this->assertSame([[], [], [], [], ['traceparent' => self::PARENT], ['traceparent' => 'mine']], array_values($headers));
    }

    public function test_opentelemetrys_span_counts(): void
    {
        // In another process: the class that stands for OpenTelemetry would stay in this one.
        $code = <<<'PHP'
            require $argv[1].'/tests/bootstrap.php';
            require $argv[1].'/tests/fixtures/TraceContextPropagator.php';
            OpenTelemetry\API\Trace\Propagation\TraceContextPropagator::$parent = $argv[2];
            $sandbox = new CeleryBridge\Tests\Support\Sandbox();
            $sandbox->boot();
            CeleryBridge\Facades\Celery::fake();
            CeleryBridge\Facades\Celery::post('a');
            echo CeleryBridge\Facades\Celery::posted()->first()->fields['traceparent'];
            $sandbox->remove();
            PHP;
        $output = (string) shell_exec(implode(' ', array_map(escapeshellarg(...), [PHP_BINARY, '-r', $code, '--', dirname(__DIR__, 2), self::PARENT])));

        $this->assertSame(self::PARENT, $output);
    }
}
