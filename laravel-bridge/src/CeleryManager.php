<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Transactions\AfterCommit;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Container\Container;
use UnitEnum;

/**
 * Makes and keeps the clients of the named connections; it is itself the client of the default one.
 *
 * Like a connection of Laravel's own managers, a connection keeps the configuration of its first
 * use. That holds for its broker, for the lengths of its queues, and for waiting for a commit.
 * Later changes take effect after `purge()` or `forgetConnections()`; the name of the default
 * connection is read at each use.
 */
class CeleryManager implements Factory, Client
{
    /** @var array<string, Client> */
    private array $clients = [];

    /** @var array<string, ConnectionSettings> the configuration of the connections in use */
    private array $settings = [];

    private ?AfterCommit $afterCommit = null;

    public function __construct(protected readonly Container $container)
    {
    }

    public function connection(?string $name = null): Client
    {
        $name ??= ConnectionSettings::defaultName($this->config());

        return $this->clients[$name] ??= $this->makeClient($this->settings($name));
    }

    /**
     * Returns the configuration that config/celery.php had for a connection at its first use.
     */
    public function settings(?string $name = null): ConnectionSettings
    {
        $name ??= ConnectionSettings::defaultName($this->config());

        return $this->settings[$name] ??= ConnectionSettings::fromRepository($this->config(), $name);
    }

    /**
     * Forgets one connection: its next use reads the configuration again.
     */
    public function purge(?string $name = null): void
    {
        $name ??= ConnectionSettings::defaultName($this->config());
        unset($this->clients[$name], $this->settings[$name]);
    }

    /**
     * Forgets all connections: the next use of each reads the configuration again.
     */
    public function forgetConnections(): void
    {
        $this->clients = $this->settings = [];
    }

    /**
     * Returns the collaborator that lets posts wait for a commit, for all connections.
     */
    public function afterCommit(): AfterCommit
    {
        return $this->afterCommit ??= new AfterCommit($this->container);
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
            $this->afterCommit(),
        );
    }

    private function config(): Repository
    {
        return $this->container->make('config');
    }
}
