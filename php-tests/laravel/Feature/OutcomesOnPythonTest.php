<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Events\TaskFailed;
use CeleryBridge\Events\TaskRetried;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Outcomes\Listener;
use CeleryBridge\Outcomes\Settlement;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Tests\fixtures\jobs\RetriesOnWorker;
use CeleryBridge\Tests\fixtures\jobs\TriesThrice;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\ExtensionTransport;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * A Python worker's retries and its failure, by its events and without them.
 */
final class OutcomesOnPythonTest extends TestCase
{
    public function test_its_outcomes_arrive_by_events(): void
    {
        // No reading of results in between, which could end the job before an event of it is read.
        $this->assertOutcomes(['-E'], 2, 600.0);
    }

    public function test_its_outcomes_arrive_without_events_except_the_retries(): void
    {
        $this->assertOutcomes([], 0, 1.0);
    }

    public function test_it_runs_a_job_once_that_asks_for_three_tries(): void
    {
        $worker = $this->worker([]);

        $result = Celery::result((string) Queue::connection('celery')->push(new TriesThrice('the job')));
        try {
            $result->get(60);
            $this->fail('the task fails');
        } catch (\CeleryBridge\Exceptions\TaskFailed $e) {
            $this->assertStringContainsString('the job', $e->getMessage());
        }

        $this->assertStringNotContainsString('Retry in', $worker->log());
        $worker->stop(60);
    }

    /**
     * @param  list<string>  $options
     */
    private function worker(array $options): Background
    {
        $url = $this->broker()->url;
        try {
            $python = Programs::python('5.7');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        config(['celery.connections.default.url' => $url]);
        $worker = new Background(
            [$python, '-m', 'celery', '-A', 'proj', 'worker', '-l', 'info', '-P', 'threads', '-c', '2', ...$options],
            ['REDIS_URL' => $url, 'TRANSPORT_OPTIONS' => '{}', 'PYTHONDONTWRITEBYTECODE' => '1', 'PYTHONUNBUFFERED' => '1'],
            Programs::root().'/php-tests/interop/python',
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /**
     * @param  list<string>  $options
     */
    private function assertOutcomes(array $options, int $retries, float $interval): void
    {
        $worker = $this->worker($options);
        $this->command('migrate', ['--force' => true]);
        Event::fake([TaskRetried::class, TaskFailed::class]);
        $transport = new ExtensionTransport($this->app->make(Factory::class)->settings());
        $jobs = $this->app->make(TrackedJobs::class);
        $listener = new Listener($transport->client(...), 'default', $jobs, new Settlement($this->app), $interval);
        $listener->turn();

        Queue::connection('celery')->push(new RetriesOnWorker());
        Wait::until('the failure', 60, static function () use ($listener): bool {
            $listener->turn();

            return Event::dispatched(TaskFailed::class)->isNotEmpty();
        });

        Event::assertDispatchedTimes(TaskFailed::class, 1);
        Event::assertDispatched(TaskFailed::class, static fn (TaskFailed $event): bool => $event->exception->type === 'OSError'
            && str_contains((string) $event->exception->traceback, 'not yet'));
        Event::assertDispatchedTimes(TaskRetried::class, $retries);
        $worker->stop();
    }
}
