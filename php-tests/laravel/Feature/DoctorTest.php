<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Tests\Support\TestCase;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * `celery:doctor` asks a real worker.
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
