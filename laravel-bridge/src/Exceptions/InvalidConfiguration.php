<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use InvalidArgumentException;

/**
 * config/celery.php, or what it refers to, cannot be used as it is.
 */
final class InvalidConfiguration extends InvalidArgumentException implements CeleryBridgeException
{
    public static function ofFile(string $problem): self
    {
        return new self("config/celery.php: {$problem}");
    }

    public static function in(string $connection, string $problem): self
    {
        return new self("Celery connection [{$connection}]: {$problem}");
    }
}
