<?php

/*
 * Loads Composer's autoloader after `composer install`. Otherwise loads the framework that Debian
 * ships (apt-get install php-laravel-framework) and this application's folder of classes.
 */

$composer = __DIR__ . '/../vendor/autoload.php';
if (is_file($composer)) {
    require_once $composer;

    return;
}

require_once 'Illuminate/autoload.php';

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'App\\')) {
        $file = __DIR__ . '/../app/' . str_replace('\\', '/', substr($class, 4)) . '.php';
        if (is_file($file)) {
            require_once $file;
        }
    }
});
