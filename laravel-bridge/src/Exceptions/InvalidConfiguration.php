<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use CeleryBridge\Config\ValueTypes;
use InvalidArgumentException;
use SensitiveParameter;

/**
 * config/celery.php, or a setting that it refers to, is not valid.
 */
final class InvalidConfiguration extends InvalidArgumentException implements CeleryBridgeException
{
    public static function ofFile(string $problem): self
    {
        return new self("config/celery.php: {$problem}");
    }

    public static function ofQueueConnection(string $problem): self
    {
        return new self("config/queue.php, a connection with the driver \"celery\": {$problem}");
    }

    public static function in(#[SensitiveParameter] string $connection, string $problem): self
    {
        // The name may be a URL by mistake, such as the value of "default".
        $connection = ValueTypes::isUrl($connection) ? '**' : $connection;

        return new self("Celery connection [{$connection}]: {$problem}");
    }
}
