<?php

declare(strict_types=1);

namespace CeleryBridge\Transport;

use AsyncResult;
use Celery;
use CeleryAdvanced;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Results\ExtensionResult;
use CeleryBridge\TaskMessage;
use Illuminate\Support\Str;

/**
 * Carries tasks through the PHP extension. Holds its client object only; connections belong to the extension, which
 * keeps them for the process, so that nothing here is wrong after a fork or between two requests.
 */
final class ExtensionTransport implements Transport
{
    private Celery|CeleryAdvanced|null $client = null;

    public function __construct(private readonly ConnectionSettings $settings)
    {
    }

    public function ensureUsable(): void
    {
        Extension::ensureLoaded();
    }

    public function post(TaskMessage $task): void
    {
        Extension::ensureLoaded();

        Extension::with($this->deadline(), fn () => $this->client()->PostTask(
            $task->name,
            $task->args,
            true,
            $task->queue ?? $this->settings->queue,
            ['id' => $task->id] + $task->fields,
        ));
    }

    public function result(string $id, ?string $task = null): Result
    {
        return new ExtensionResult($id, $task, $this->deadline(), function () use ($id, $task): AsyncResult {
            Extension::ensureLoaded();

            // Made by the client of this connection first: a result finds its way back by that connection's name.
            $this->client();

            return new AsyncResult($id, ($this->settings->resultBackend ?? $this->settings->broker)->toArguments(), $task);
        });
    }

    /**
     * Ask the broker one harmless question, within the connection's deadline; throw if it does not answer.
     */
    public function pingBroker(): void
    {
        Extension::ensureLoaded();

        $this->ask(new CeleryAdvanced($this->settings->broker->toArguments()));
    }

    /**
     * The same of the server that holds the results.
     */
    public function pingResultBackend(): void
    {
        Extension::ensureLoaded();

        $this->ask($this->client());
    }

    private function ask(Celery|CeleryAdvanced $client): void
    {
        Extension::with(
            $this->deadline(),
            static fn () => $client->getAsyncResultMessage('ping', (string) Str::uuid(), null, false),
        );
    }

    private function client(): Celery|CeleryAdvanced
    {
        $broker = $this->settings->broker->toArguments();

        return $this->client ??= $this->settings->resultBackend === null
            ? new Celery(...array_values($broker))
            : new CeleryAdvanced($broker, $this->settings->resultBackend->toArguments());
    }

    /**
     * @return array<string, float|null>
     */
    private function deadline(): array
    {
        return [
            'celery.post_timeout' => $this->settings->timeout,
            'celery.command_timeout' => $this->settings->timeout,
        ];
    }
}
