<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Transactions\AfterCommit;

/**
 * The named connections of config/celery.php.
 *
 * Like a connection of Laravel's own managers, a connection keeps the configuration of its first
 * use. That holds for its broker, for the lengths of its queues, and for waiting for a commit.
 * Later changes take effect after `purge()` or `forgetConnections()`; the name of the default
 * connection is read at each use.
 */
interface Factory
{
    /**
     * Returns the client of a connection; without a name, that of the default one.
     */
    public function connection(?string $name = null): Client;

    /**
     * Returns the extension's own client of a connection, for what has no method here: remote control,
     * events, schedules, dead letters. It knows nothing of transactions and of Laravel's events.
     *
     * @throws \CeleryBridge\Exceptions\ExtensionNotLoaded
     */
    public function native(?string $name = null): \Celery\Client;

    /**
     * Returns the configuration that config/celery.php had for a connection at its first use.
     */
    public function settings(?string $name = null): ConnectionSettings;

    /**
     * Forgets one connection: its next use reads the configuration again.
     */
    public function purge(?string $name = null): void;

    /**
     * Forgets all connections: the next use of each reads the configuration again.
     */
    public function forgetConnections(): void;

    /**
     * Returns the collaborator that lets posts wait for a commit, for all connections.
     */
    public function afterCommit(): AfterCommit;
}
