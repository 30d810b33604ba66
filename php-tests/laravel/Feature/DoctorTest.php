<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\TestCase;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * `celery:doctor`, `celery:status` and `celery:inspect` ask a real worker.
 */
final class DoctorTest extends TestCase
{
    public function test_the_doctor_names_queues_that_no_worker_consumes(): void
    {
        $url = $this->broker()->url;
        try {
            $program = Programs::path('examples/playground');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        config(['celery.connections.default.url' => $url]);
        $checks = $this->checks(1);
        $this->assertFalse($checks['default: workers']['ok']);
        $this->assertStringContainsString('none answered', $checks['default: workers']['detail']);

        $worker = new Background([$program, '-b', $url, '--result-backend', $url, '-Q', 'celery', '-n', 'doctor@%h', '-l', 'info']);
        $worker->waitForText(' ready.', 30);

        $checks = Wait::until('the answer of the worker', 30, function (): ?array {
            $checks = $this->checks(0);

            return ($checks['default: workers']['ok'] ?? false) ? $checks : null;
        });
        $this->assertStringContainsString('doctor@', $checks['default: workers']['detail']);
        $this->assertTrue($checks['default: consumers']['ok']);

        config(['queue.connections.reports' => ['driver' => 'celery', 'queue' => 'reports']]);
        $checks = Wait::until('the answer of the worker', 30, function (): ?array {
            $checks = $this->checks(1);

            return isset($checks['default: consumers']) ? $checks : null;
        });
        $this->assertFalse($checks['default: consumers']['ok']);
        $this->assertStringContainsString('no worker consumes the queue reports', $checks['default: consumers']['detail']);
        $worker->stop();
    }

    public function test_status_and_inspect_show_what_a_worker_says(): void
    {
        $url = $this->broker()->url;
        try {
            $program = Programs::path('examples/playground');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        config(['celery.connections.default.url' => $url]);
        [$code, $output] = $this->command('celery:status');
        $this->assertSame(1, $code, $output);
        $this->assertStringContainsString('No worker answered', $output);
        $this->assertStringContainsString('| celery | 0       | 0 ', $output);
        [$code, $output] = $this->command('celery:inspect', ['question' => 'ping', '--timeout' => '0.2']);
        $this->assertSame(1, $code, $output);

        $worker = new Background([$program, '-b', $url, '--result-backend', $url, '-Q', 'celery', '-n', 'asked@%h', '-l', 'info']);
        $worker->waitForText(' ready.', 30);
        $id = Celery::post('proj.sleep', [120])->id();

        $state = Wait::until('the running task', 30, function (): ?array {
            [$code, $output] = $this->command('celery:status', ['--json' => true]);
            $state = json_decode($output, true);

            return $code === 0 && $state['running'] !== [] ? $state : null;
        });
        $this->assertSame($id, $state['running'][0]['id']);
        [$code, $output] = $this->command('celery:status');
        $this->assertSame(0, $code, $output);
        $this->assertMatchesRegularExpression('/asked@\S+ +\| celery +\| \d+ +\| 1 /', $output);

        [$code, $output] = $this->command('celery:inspect', ['question' => 'active', '--json' => true]);
        $answers = json_decode($output, true);
        $this->assertSame([0, $id], [$code, array_values($answers)[0][0]['id'] ?? null], $output);
        [, $output] = $this->command('celery:inspect', ['question' => 'active_queues']);
        $this->assertStringContainsString('"name": "celery"', $output);
        [$code] = $this->command('celery:inspect', ['question' => 'active', '--destination' => ['other@host'], '--timeout' => '0.2']);
        $this->assertSame(1, $code);
        [$code, $output] = $this->command('celery:inspect', ['question' => 'shutdown']);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('active_queues', $output);

        $this->command('celery:revoke', ['id' => [$id]]);
        $worker->signal(SIGKILL);
    }

    /**
     * @return array<string, array{check: string, ok: bool, detail: string}>
     */
    private function checks(int $expected): array
    {
        [$code, $output] = $this->command('celery:doctor', ['--json' => true]);
        $checks = array_column(json_decode($output, true)['checks'], null, 'check');
        if ($expected === 1 || $checks['default: workers']['ok']) {
            $this->assertSame($expected, $code, $output);
        }

        return $checks;
    }
}
