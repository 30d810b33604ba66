<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

/**
 * The named connections of config/celery.php.
 */
interface Factory
{
    /**
     * Returns the client of a connection; without a name, that of the default one.
     */
    public function connection(?string $name = null): Client;
}
