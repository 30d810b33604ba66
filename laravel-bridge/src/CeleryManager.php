<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Container\Container;
use UnitEnum;

/**
 * Makes and keeps the clients of the named connections; is itself the client of the default one.
 */
class CeleryManager implements Factory, Client
{
    /** @var array<string, Client> */
    private array $clients = [];

    public function __construct(protected readonly Container $container)
    {
    }

    public function connection(?string $name = null): Client
    {
        $name ??= ConnectionSettings::defaultName($this->config());

        return $this->clients[$name] ??= $this->makeClient($this->settings($name));
    }

    /**
     * What config/celery.php says of a connection.
     */
    public function settings(?string $name = null): ConnectionSettings
    {
        return ConnectionSettings::fromRepository($this->config(), $name);
    }

    /**
     * Forget the clients made so far: the next use reads the configuration again.
     */
    public function forgetConnections(): void
    {
        $this->clients = [];
    }

    /**
     * Whether tasks posted inside a database transaction may wait for its commit.
     */
    public function defersToCommit(): bool
    {
        return true;
    }

    public function post(
        string $task,
        array $args = [],
        string|UnitEnum|null $queue = null,
        array $options = [],
    ): Result {
        return $this->connection()->post($task, $args, $queue, $options);
    }

    public function postMany(iterable $tasks): array
    {
        return $this->connection()->postMany($tasks);
    }

    public function task(string $name, array $args = []): PendingTask
    {
        return $this->connection()->task($name, $args);
    }

    public function result(string $id): Result
    {
        return $this->connection()->result($id);
    }

    public function forget(string $id): void
    {
        $this->connection()->forget($id);
    }

    public function revoke(string $id): void
    {
        $this->connection()->revoke($id);
    }

    public function name(): string
    {
        return $this->connection()->name();
    }

    protected function transport(ConnectionSettings $settings): Transport
    {
        return new ExtensionTransport($settings);
    }

    private function makeClient(ConnectionSettings $settings): Client
    {
        return new CeleryClient(
            $this->container,
            $this->transport($settings),
            $settings->name,
            $settings->queue,
            $settings->afterCommit,
            $this->defersToCommit(),
        );
    }

    private function config(): Repository
    {
        return $this->container->make('config');
    }
}
