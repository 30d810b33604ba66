<?php

/*
 * Loads Laravel's classes and functions from its sources, as the framework's composer.json describes.
 * `scripts/matrix` copies this file into a folder of them.
 */

spl_autoload_register(static function (string $class): void {
    if (! str_starts_with($class, 'Illuminate\\')) {
        return;
    }
    $name = str_replace('\\', '/', substr($class, strlen('Illuminate\\')));
    $names = [$name];
    if (str_starts_with($name, 'Support/')) {
        foreach (['Macroable', 'Collections', 'Conditionable', 'Reflection'] as $folder) {
            $names[] = $folder.substr($name, strlen('Support'));
        }
    }
    foreach ($names as $name) {
        if (is_file(__DIR__."/{$name}.php")) {
            require_once __DIR__."/{$name}.php";

            return;
        }
    }
});

foreach ([
    'Collections/functions', 'Collections/helpers', 'Events/functions', 'Filesystem/functions', 'Foundation/helpers',
    'Log/functions', 'Reflection/helpers', 'Support/functions', 'Support/helpers',
] as $file) {
    if (is_file(__DIR__."/{$file}.php")) {
        require_once __DIR__."/{$file}.php";
    }
}
