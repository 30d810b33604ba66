<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use CeleryBridge\Context\LaravelHeader;
use CeleryBridge\Events\TaskFailed;
use CeleryBridge\Events\TaskRetried;
use CeleryBridge\Events\TaskRevoked;
use CeleryBridge\Events\TaskSucceeded;
use Illuminate\Container\Container;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Queue\Events\JobProcessed;
use Illuminate\Queue\Events\JobProcessing;
use Laravel\Pulse\Pulse;
use stdClass;
use Throwable;

/**
 * Runs what the application has for the end of a task: `failed()` of the job, and events. Both see
 * the Context of the dispatch. Their exceptions are reported and change nothing else.
 */
final class Settlement
{
    public function __construct(private readonly Container $container)
    {
    }

    public function run(stdClass $row, Outcome $outcome): void
    {
        $job = new CeleryJob($this->container, $row);
        $this->guarded(fn () => LaravelHeader::restoreContext($this->container, $job->payload()));
        $this->end($row, $outcome, $job);
        $this->guarded(fn () => LaravelHeader::forgetContext($this->container));
    }

    private function end(stdClass $row, Outcome $outcome, CeleryJob $job): void
    {
        $this->guarded(function () use ($row, $outcome, $job): void {
            if ($outcome->isFailure() || $outcome->state === Outcome::SUCCESS) {
                // Telescope records what comes after this event, and stores it at the next one.
                $this->raise(new JobProcessing($row->queue_connection, $job));
            }
            if ($outcome->isFailure()) {
                // Calls failed(), and raises Laravel's JobFailed in any case.
                $job->fail($outcome->exception($row->id));
            } elseif ($outcome->state === Outcome::SUCCESS) {
                $this->raise(new JobProcessed($row->queue_connection, $job));
            }
        });
        $this->guarded(fn () => $this->raise(match (true) {
            $outcome->state === Outcome::SUCCESS => new TaskSucceeded($row->id, $row->task, $job, $outcome->result),
            $outcome->state === Outcome::REVOKED => new TaskRevoked($row->id, $row->task, $job, $outcome->message),
            default => new TaskFailed($row->id, $row->task, $job, $outcome->exception($row->id)),
        }));
    }

    public function retried(stdClass $row, ?string $reason): void
    {
        $job = new CeleryJob($this->container, $row);
        $this->guarded(fn () => $this->raise(new TaskRetried($row->id, $row->task, $job, $reason)));
    }

    /**
     * Lets Pulse store what it has recorded, where it is installed. Otherwise it would wait for the end
     * of the process.
     */
    public function storeRecords(): void
    {
        $this->guarded(function (): void {
            if ($this->container->bound(Pulse::class)) {
                $this->container->make(Pulse::class)->ingest();
            }
        });
    }

    private function raise(object $event): void
    {
        $this->container->make(Dispatcher::class)->dispatch($event);
    }

    private function guarded(callable $call): void
    {
        try {
            $call();
        } catch (Throwable $e) {
            $this->container->make(ExceptionHandler::class)->report($e);
        }
    }
}
