<?php

declare(strict_types=1);

if (!extension_loaded('celery')) {
    fwrite(STDERR, "These tests need the extension: php -d extension=<path to libcelery.so> /usr/bin/phpunit -c php-tests/parity\n");
    exit(2);
}

require __DIR__ . '/lib/load.php';
require __DIR__ . '/ParityTestCase.php';
