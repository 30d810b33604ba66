<?php

declare(strict_types=1);

/*
 * Loads the framework, the package and the fixtures. The framework is what Composer has installed in
 * the package, the Composer autoloader that LARAVEL_AUTOLOAD names, or Debian's
 * php-laravel-framework on the include path.
 *
 * The tests that talk to a broker need the extension and REDIS_URL; the others run without them.
 */

$installed = dirname(__DIR__).'/vendor/autoload.php';
require_once getenv('LARAVEL_AUTOLOAD') ?: (is_file($installed) ? $installed : 'Illuminate/autoload.php');

if (! class_exists(Mockery::class)) {
    require_once 'Mockery/autoload.php';
}

// The tests' configuration must not depend on the brokers in this environment. CELERY_BIN is the folder
// of built programs.
foreach (array_keys(getenv()) as $name) {
    if (str_starts_with($name, 'CELERY_') && $name !== 'CELERY_BIN') {
        putenv($name);
        unset($_ENV[$name], $_SERVER[$name]);
    }
}

spl_autoload_register(static function (string $class): void {
    $roots = [
        'CeleryBridge\\Tests\\' => __DIR__.'/',
        'CeleryBridge\\' => dirname(__DIR__).'/src/',
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
