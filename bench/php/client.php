<?php

/**
 * Chooses the client that posts: the extension or, if `CELERY_PHP_DIR` names its folder,
 * celery-php.
 *
 * Both have the same classes and take the same arguments; PHP is started with the extension or
 * without.
 */

require __DIR__ . '/serve.php';

if (!extension_loaded('celery')) {
    // celery-php was written for PHP 5: ignore the deprecation of its dynamic properties.
    error_reporting(E_ALL & ~E_DEPRECATED);
    $folder = getenv('CELERY_PHP_DIR');
    if (is_file("$folder/vendor/autoload.php")) {
        require "$folder/vendor/autoload.php";
    } else {
        require 'Predis/autoload.php';
        require "$folder/celery.php";
    }
}

/** Returns a client of the queue `celery`. */
function client(): Celery
{
    [$host, $port] = getenv('BENCH_UNIX') ? [getenv('REDIS_SOCKET'), 0] : [getenv('REDIS_HOST'), getenv('REDIS_PORT')];
    return new Celery($host, null, null, 0, 'celery', 'celery', $port, 'redis');
}
