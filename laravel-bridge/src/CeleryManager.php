<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Concerns\IsDefaultClient;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Outcomes\TrackedTasks;
use CeleryBridge\Transactions\AfterCommit;
use CeleryBridge\Transport\ExtensionTransport;
use Closure;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Container\Container;
use Illuminate\Support\Traits\Macroable;

/**
 * Makes and keeps the clients of the named connections; it is itself the client of the default one.
 */
final class CeleryManager implements Factory, Client
{
    use IsDefaultClient;
    use Macroable;

    /** @var array<string, Client> */
    private array $clients = [];

    /** @var array<string, ConnectionSettings> the configuration of the connections in use */
    private array $settings = [];

    private readonly AfterCommit $afterCommit;

    /** Null in the fake, which writes no rows. */
    private readonly ?TrackedTasks $tracked;

    /** @var Closure(ConnectionSettings): Transport */
    private readonly Closure $transport;

    /**
     * @param  (Closure(ConnectionSettings): Transport)|null  $transport  null: the extension
     */
    public function __construct(
        private readonly Container $container,
        ?Closure $transport = null,
        ?AfterCommit $afterCommit = null,
    ) {
        $this->tracked = $transport === null ? new TrackedTasks($container) : null;
        $this->transport = $transport ?? static fn (ConnectionSettings $settings): Transport => new ExtensionTransport($settings);
        $this->afterCommit = $afterCommit ?? new AfterCommit($container);
    }

    public function connection(?string $name = null): Client
    {
        $settings = $this->settings($name);

        return $this->clients[$settings->name] ??= new CeleryClient(
            $this->container,
            ($this->transport)($settings),
            $settings->name,
            $settings->queue,
            $settings->afterCommit,
            $this->afterCommit,
            $this->tracked,
        );
    }

    public function native(?string $name = null): \Celery\Client
    {
        return (new ExtensionTransport($this->settings($name)))->client();
    }

    public function settings(?string $name = null): ConnectionSettings
    {
        $name ??= $this->defaultName();

        return $this->settings[$name] ??= ConnectionSettings::fromRepository($this->config(), $name);
    }

    public function purge(?string $name = null): void
    {
        $name ??= $this->defaultName();
        unset($this->clients[$name], $this->settings[$name]);
    }

    public function forgetConnections(): void
    {
        $this->clients = $this->settings = [];
    }

    public function afterCommit(): AfterCommit
    {
        return $this->afterCommit;
    }

    private function defaultName(): string
    {
        return ConnectionSettings::defaultName($this->config());
    }

    private function config(): Repository
    {
        return $this->container->make('config');
    }
}
