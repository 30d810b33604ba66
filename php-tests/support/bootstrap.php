<?php

/*
 * The suites run in `testkit up …`, which exports the addresses of private servers (see
 * scripts/test).
 */

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'CeleryTests\\')) {
        require_once __DIR__ . '/' . substr($class, strlen('CeleryTests\\')) . '.php';
    }
});

if (!extension_loaded('celery')) {
    fwrite(STDERR, "The extension celery is not loaded: run the suites with `make test` or `scripts/test NAME`.\n");
    exit(1);
}
