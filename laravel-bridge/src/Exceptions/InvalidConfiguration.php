<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use CeleryBridge\Config\ValueTypes;
use InvalidArgumentException;
use SensitiveParameter;

/**
 * config/celery.php, or what it refers to, cannot be used as it is.
 */
final class InvalidConfiguration extends InvalidArgumentException implements CeleryBridgeException
{
    public static function ofFile(string $problem): self
    {
        return new self("config/celery.php: {$problem}");
    }

    public static function in(#[SensitiveParameter] string $connection, string $problem): self
    {
        // A URL may stand in the place of a name by mistake, such as the value of "default".
        $connection = ValueTypes::isUrl($connection) ? '**' : $connection;

        return new self("Celery connection [{$connection}]: {$problem}");
    }
}
