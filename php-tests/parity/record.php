<?php

/**
 * Writes transcripts/redis.json: the answers of the real celery-php 2.1.2 to every case, and for its
 * namespaced classes those of the unreleased 3.0. With the argument `rabbitmq` it writes
 * transcripts/rabbitmq.json: the answers of 2.1.2 with its connectors `pecl` and `php-amqplib`.
 *
 *     CELERY_PHP_DIR=<folder of 2.1.2> CELERY_PHP_3_DIR=<folder of the master branch> php php-tests/parity/record.php
 *     CELERY_PHP_DIR=<folder of 2.1.2> testkit up rabbitmq -- php php-tests/parity/record.php rabbitmq
 *
 * celery-php is not part of this project and is not needed to run the tests. predis comes from Debian's
 * php-predis, the clients of RabbitMQ from php-amqp and php-amqplib.
 */

declare(strict_types=1);

namespace CeleryParity;

require __DIR__ . '/lib/load.php';

/** Ends the program if something is missing. */
$need = function (bool $there, string $what): void {
    if (!$there) {
        fwrite(STDERR, "$what\n");
        exit(2);
    }
};
$need(!extension_loaded('celery'), 'record.php records celery-php: run it without the extension');
$broker = $argv[1] ?? 'redis';
$need(in_array($broker, ['redis', 'rabbitmq'], true), 'the argument is redis or rabbitmq');
$folder = getenv('CELERY_PHP_DIR');
$need(is_file("$folder/celery.php"), 'CELERY_PHP_DIR must name a folder that holds celery-php 2.1.2 (its celery.php)');
// celery-php was written for PHP 5: ignore its dynamic properties, which PHP 8.2 deprecates.
error_reporting(E_ALL & ~E_DEPRECATED);
if ($broker === 'redis') {
    $namespaced = getenv('CELERY_PHP_3_DIR');
    $need(is_file("$namespaced/src/Celery.php"), 'CELERY_PHP_3_DIR must name a folder that holds its master branch (src/Celery.php)');
    require 'Predis/autoload.php';
    spl_autoload_register(function (string $class) use ($namespaced): void {
        if (str_starts_with($class, 'Celery\\')) {
            require "$namespaced/src/" . substr($class, strlen('Celery\\')) . '.php';
        }
    });
    $with = 'predis ' . \Predis\Client::VERSION;
    $server = PrivateRedis::start();
    $lab = fn (string $case) => new Lab($server);
} else {
    $need(extension_loaded('amqp'), 'the extension amqp is needed: Debian package php-amqp');
    require 'PhpAmqpLib/autoload.php';
    // celery-php asks for this class, which php-amqplib had under this name up to version 2.
    class_alias(\PhpAmqpLib\Connection\AMQPStreamConnection::class, 'PhpAmqpLib\Connection\AMQPConnection');
    $with = 'ext-amqp ' . phpversion('amqp') . ', php-amqplib ' . \PhpAmqpLib\Package::VERSION;
    $server = new PrivateRabbitMq();
    $lab = fn (string $case) => new RabbitMqLab($server, $case);
}
require "$folder/celery.php";

$about = [
    'observed' => 'celery-php 2.1.2' . ($broker === 'redis' ? ' and its master branch' : ''),
    'with' => $with,
    'php' => PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION,
];
$seen = [];
foreach ((require __DIR__ . '/cases.php')[$broker] as $name => $case) {
    $seen[$name] = Transcript::observe($case, $lab($name));
}
file_put_contents(Transcript::file($broker), Transcript::encode($about + ['cases' => $seen]) . "\n");
printf("%d cases recorded\n", count($seen));
