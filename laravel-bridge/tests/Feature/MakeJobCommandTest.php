<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\TestCase;
use InvalidArgumentException;

/**
 * `make:celery-job` writes a class that can be dispatched at once.
 */
final class MakeJobCommandTest extends TestCase
{
    public function test_the_class_can_be_dispatched(): void
    {
        Celery::fake();
        foreach ([['SendInvoice', [], 'send_invoice'], ['Photos/ResizeJob', ['--task' => 'photos.resize'], 'photos.resize'], ['IndexJob', [], 'index']] as [$name, $options, $task]) {
            [$code, $output] = $this->command('make:celery-job', ['name' => $name] + $options);
            $this->assertSame(0, $code, $output);
            require "{$this->sandbox->path}/app/Jobs/{$name}.php";
            $class = 'App\\Jobs\\'.str_replace('/', '\\', $name);

            $class::dispatch();
            Celery::assertPosted($task, static fn (object $job): bool => $job->job instanceof $class);
        }
    }

    public function test_a_class_that_exists_stays_and_a_stub_of_the_application_counts(): void
    {
        mkdir("{$this->sandbox->path}/stubs");
        $this->sandbox->write('stubs/celery-job.stub', '<?php // {{ namespace }} {{ class }} {{ task }}');
        $this->command('make:celery-job', ['name' => 'Own']);
        $this->command('make:celery-job', ['name' => 'Own', '--task' => 'other']);

        $this->assertSame('<?php // App\Jobs Own own', file_get_contents("{$this->sandbox->path}/app/Jobs/Own.php"));

        $this->expectException(InvalidArgumentException::class);
        $this->command('make:celery-job', ['name' => 'Wrong', '--task' => "it's"]);
    }
}
