<?php

declare(strict_types=1);

/*
 * Loads the framework, the bridge and the fixtures. The framework is Debian's php-laravel-framework (on the include
 * path), or the Composer autoloader that LARAVEL_AUTOLOAD names.
 *
 * The tests that talk to a broker need the extension and REDIS_URL:
 *
 *     scripts/test laravel
 */

require_once getenv('LARAVEL_AUTOLOAD') ?: 'Illuminate/autoload.php';

if (! class_exists(Mockery::class)) {
    require_once 'Mockery/autoload.php';
}

// The tests' configuration must not depend on the brokers in this environment.
foreach (array_keys(getenv()) as $name) {
    if (str_starts_with($name, 'CELERY_')) {
        putenv($name);
        unset($_ENV[$name], $_SERVER[$name]);
    }
}

spl_autoload_register(static function (string $class): void {
    $roots = [
        'CeleryBridge\\Tests\\' => __DIR__.'/',
        'CeleryBridge\\' => __DIR__.'/../../laravel-bridge/src/',
        'App\\' => __DIR__.'/fixtures/blog/app/',
    ];

    foreach ($roots as $prefix => $folder) {
        if (str_starts_with($class, $prefix)) {
            $file = $folder.str_replace('\\', '/', substr($class, strlen($prefix))).'.php';
            if (is_file($file)) {
                require_once $file;
            }

            return;
        }
    }
});
