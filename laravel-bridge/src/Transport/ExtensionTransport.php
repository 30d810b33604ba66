<?php

declare(strict_types=1);

namespace CeleryBridge\Transport;

use AsyncResult;
use Celery\ResultTimeout;
use Celery\TaskException;
use CeleryAdvanced;
use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Config\Endpoint;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Results\ExtensionResult;
use CeleryBridge\TaskMessage;
use CeleryPublishException;
use Closure;
use Illuminate\Support\Str;

/**
 * Sends tasks through the PHP extension. It holds only a client object of the extension. The
 * extension keeps the connections for the process, so a fork or a new request causes no harm here.
 */
final class ExtensionTransport implements Transport
{
    /** Opens the circuit of a server after this number of failed connects, as `Celery\Client` does. */
    private const BREAKER_FAILURES = 3;

    private ?CeleryAdvanced $compatible = null;

    public function __construct(private readonly ConnectionSettings $settings)
    {
    }

    public function ensureUsable(): void
    {
        Extension::ensureLoaded();
    }

    public function post(TaskMessage $task): void
    {
        $this->call(fn () => $this->compatible()->PostTask(
            $task->name,
            $task->args,
            true,
            $task->queue ?? $this->settings->queue,
            ['id' => $task->id] + $task->fields,
        ), $this->publishing([$task]));
    }

    public function postMany(string $queue, array $tasks): void
    {
        $this->call(fn () => $this->compatible()->PostTasks(
            array_map(
                static fn (TaskMessage $task): array => [$task->name, $task->args, ['id' => $task->id] + $task->fields],
                $tasks,
            ),
            true,
            $queue,
        ), $this->publishing($tasks));
    }

    /**
     * Returns how the broker's answers are treated. A pipelined post would report its failure only at
     * the end of the request, too late for a retry. A RabbitMQ does not find out that it has a task
     * already.
     *
     * @param  list<TaskMessage>  $tasks
     */
    private function publishing(array $tasks): ?string
    {
        if ($this->settings->broker->isRabbitMq()) {
            return 'confirmed';
        }
        foreach ($tasks as $task) {
            if ($task->once) {
                return 'once';
            }
        }

        return ini_get('celery.publish') === 'pipelined' ? 'confirmed' : null;
    }

    public function postCanvas(Canvas $canvas): void
    {
        $this->call(
            fn () => \Celery\Client::fromCelery($this->compatible())->send(CanvasSignatures::of($canvas)),
            $this->publishing([]),
        );
    }

    public function ended(array $ids, ?float $timeout): array
    {
        return $this->call(function () use ($ids, $timeout): array {
            $results = \Celery\Client::fromCelery($this->compatible())->results($ids);
            try {
                if ($timeout !== 0.0) {
                    $results->get($timeout);
                }
            } catch (ResultTimeout|TaskException) {
            }

            // One more request says which of them have ended. The results remember the answer.
            $pending = [];
            try {
                $results->get(0.0, propagate: false);
            } catch (ResultTimeout $e) {
                $pending = array_flip($e->pending());
            }
            $ended = [];
            foreach ($results as $result) {
                if (! isset($pending[$result->id])) {
                    $ended[$result->id] = $result->state();
                }
            }

            return $ended;
        });
    }

    public function result(string $id, ?string $task = null): Result
    {
        return new ExtensionResult($this, $id, $task);
    }

    /**
     * Returns what a worker has stored for a task so far.
     *
     * @return array<string, mixed>|null Celery's document (status, result, traceback, …) with objects as stdClass
     */
    public function stored(string $id): ?array
    {
        $message = $this->call(fn () => $this->compatible()->getAsyncResultMessage('', $id, null, false));

        return is_array($message) ? get_object_vars((object) json_decode((string) $message['body'])) : null;
    }

    /**
     * Waits until a task has ended. The stored result stays.
     *
     * @throws \CeleryTimeoutException
     */
    public function await(string $id, ?string $task, ?float $timeout): void
    {
        $this->call(fn () => $this->handle($this->results(), $id, $task)->get($timeout, false));
    }

    public function forget(string $id): void
    {
        $this->call(fn () => $this->handle($this->results(), $id)->forget());
    }

    public function revoke(string $id): void
    {
        $this->call(fn () => $this->handle($this->settings->broker->toArguments(), $id)->revoke());
    }

    /**
     * Returns the extension's client for new code, with the servers, the queue and the deadlines of this
     * connection.
     */
    public function client(): \Celery\Client
    {
        return $this->call(function (): \Celery\Client {
            $timeout = $this->settings->timeout;

            return \Celery\Client::fromCelery($this->compatible())
                ->with(queue: $this->settings->queue, postTimeout: $timeout, commandTimeout: $timeout);
        });
    }

    /**
     * Sends one harmless command to the broker, within the connection's deadline; throws if it gets
     * no answer.
     */
    public function pingBroker(): void
    {
        if ($this->settings->broker->isRabbitMq()) {
            $this->pingRabbitMq();
        } else {
            $this->ping($this->settings->broker);
        }
    }

    /**
     * Posts to a queue that does not exist, without creating it: a RabbitMQ that lets us in returns the
     * message.
     */
    private function pingRabbitMq(): void
    {
        $queue = 'celery-doctor-'.Str::uuid();
        try {
            Extension::with(
                ['celery.create_missing_queues' => 0],
                fn () => $this->call(fn () => $this->compatible()->PostTask('celery.ping', [], false, $queue), 'confirmed'),
            );
        } catch (CeleryPublishException $e) {
            if (! str_contains($e->getMessage(), $queue)) {
                throw $e;
            }
        }
    }

    /**
     * Like pingBroker(), for the server that holds the results.
     */
    public function pingResultBackend(): void
    {
        $this->ping($this->settings->resultBackend ?? $this->settings->broker);
    }

    private function ping(Endpoint $endpoint): void
    {
        $this->call(static function () use ($endpoint): void {
            $server = $endpoint->toArguments();
            (new CeleryAdvanced($server, $server))->getAsyncResultMessage('', (string) Str::uuid(), null, false);
        });
    }

    /**
     * @template T
     *
     * @param  Closure(): T  $call
     * @param  string|null  $publishing  null: as php.ini says
     * @return T
     */
    private function call(Closure $call, ?string $publishing = null): mixed
    {
        Extension::ensureLoaded();

        return Extension::with([
            'celery.post_timeout' => $this->settings->timeout,
            'celery.command_timeout' => $this->settings->timeout,
            // Without this setting, reading a final result would delete it.
            'celery.keep_results' => 1,
            'celery.publish' => $publishing,
            // Empty: php.ini does not decide, and the extension's default for celery-php is off.
            'celery.breaker_failures' => (string) ini_get('celery.breaker_failures') === '' ? self::BREAKER_FAILURES : null,
        ], $call);
    }

    private function compatible(): CeleryAdvanced
    {
        return $this->compatible ??= new CeleryAdvanced(
            $this->settings->broker->toArguments(),
            // Without one, the extension takes that of php.ini, otherwise the broker.
            $this->settings->resultBackend?->toArguments() ?? false,
        );
    }

    /**
     * @param  array<string, mixed>  $server
     */
    private function handle(array $server, string $id, ?string $task = null): AsyncResult
    {
        return new AsyncResult($id, $server, $task);
    }

    /**
     * Returns the server of the results: of the connection, otherwise of php.ini, otherwise the
     * broker.
     *
     * @return array<string, mixed>
     */
    private function results(): array
    {
        $configured = (string) ini_get('celery.result_backend');

        return match (true) {
            $this->settings->resultBackend !== null => $this->settings->resultBackend->toArguments(),
            $configured !== '' => ['host' => $configured, 'connector' => 'redis'],
            default => $this->settings->broker->toArguments(),
        };
    }
}
