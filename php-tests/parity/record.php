<?php

/**
 * Writes transcript.json: the answers of the real celery-php 2.1.2 to every case, and for its
 * namespaced classes those of the unreleased 3.0.
 *
 *     CELERY_PHP_DIR=<folder of 2.1.2> CELERY_PHP_3_DIR=<folder of the master branch> php php-tests/parity/record.php
 *
 * celery-php is not part of this project and is not needed to run the tests. predis comes from Debian's php-predis.
 */

declare(strict_types=1);

namespace CeleryParity;

require __DIR__ . '/lib/load.php';

if (extension_loaded('celery')) {
    fwrite(STDERR, "record.php records celery-php: run it without the extension\n");
    exit(2);
}
$folder = getenv('CELERY_PHP_DIR');
$namespaced = getenv('CELERY_PHP_3_DIR');
if (!is_file("$folder/celery.php") || !is_file("$namespaced/src/Celery.php")) {
    fwrite(STDERR, "CELERY_PHP_DIR must name a folder that holds celery-php 2.1.2 (its celery.php),\n"
        . "CELERY_PHP_3_DIR one that holds its master branch (src/Celery.php)\n");
    exit(2);
}
// celery-php was written for PHP 5: ignore its dynamic properties, which PHP 8.2 deprecates.
error_reporting(E_ALL & ~E_DEPRECATED);
require 'Predis/autoload.php';
require "$folder/celery.php";
spl_autoload_register(function (string $class) use ($namespaced): void {
    if (str_starts_with($class, 'Celery\\')) {
        require "$namespaced/src/" . substr($class, strlen('Celery\\')) . '.php';
    }
});

$redis = PrivateRedis::start();
$seen = [];
foreach (require __DIR__ . '/cases.php' as $name => $case) {
    $seen[$name] = Transcript::observe($case, $redis);
}
$about = ['observed' => 'celery-php 2.1.2 and its master branch', 'with' => 'predis ' . \Predis\Client::VERSION, 'php' => PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION];
file_put_contents(Transcript::FILE, Transcript::encode($about + ['cases' => $seen]) . "\n");
printf("%d cases recorded\n", count($seen));
