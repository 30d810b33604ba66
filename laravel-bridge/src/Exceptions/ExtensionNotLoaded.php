<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use RuntimeException;

/**
 * The PHP extension `celery` is missing where a task was to be posted or a result read.
 */
final class ExtensionNotLoaded extends RuntimeException implements CeleryBridgeException
{
    public static function make(): self
    {
        $ini = php_ini_loaded_file() ?: 'php.ini (none is loaded now)';

        return new self(sprintf(
            'The PHP extension "celery" is not loaded in this PHP (%s, %s). Install it and enable it with the line '
            .'"extension=celery" in %s or in a file of the conf.d directory beside it, then restart PHP. '
            .'`php -m` lists the loaded extensions, `php artisan celery:doctor` checks the whole set-up.',
            PHP_VERSION,
            PHP_SAPI,
            $ini,
        ));
    }
}
