<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use RuntimeException;

/**
 * The PHP extension `celery` is missing when a task is posted or a result read.
 */
final class ExtensionNotLoaded extends RuntimeException implements CeleryBridgeException
{
    public static function make(): self
    {
        $ini = php_ini_loaded_file() ?: 'php.ini (none is loaded now)';

        return new self(sprintf(
            'The PHP extension "celery" is not loaded in this PHP (%s, %s). In its sources, `make setup build` and '
            .'`sudo make install` install and enable it. Where %s/celery.so is there already, `phpenmod celery` or the line '
            .'"extension=celery" in %s enables it. Then restart PHP-FPM, or whatever runs this PHP. '
            .'`php -m` lists the loaded extensions, `php artisan celery:doctor` checks the whole set-up.',
            PHP_VERSION,
            PHP_SAPI,
            ini_get('extension_dir'),
            $ini,
        ));
    }
}
