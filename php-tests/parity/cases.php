<?php

/**
 * The cases of each broker: a name and a closure, which gets a Lab or a RabbitMqLab and returns its
 * observation. Recording and test run exactly these.
 *
 * A case uses only calls that PHP code written for celery-php can make, and reads the broker as a
 * Python worker would.
 */

declare(strict_types=1);

use CeleryParity\RabbitMqLab;

$redis = array_merge(
    require __DIR__ . '/cases/connecting.php',
    require __DIR__ . '/cases/posting.php',
    require __DIR__ . '/cases/arguments.php',
    require __DIR__ . '/cases/results.php',
    require __DIR__ . '/cases/states.php',
    require __DIR__ . '/cases/shape.php',
    require __DIR__ . '/cases/inheritance.php',
    require __DIR__ . '/cases/namespaced.php',
);
// Those of RabbitMQ run with each connector.
$rabbitmq = [];
foreach (RabbitMqLab::CONNECTORS as $connector) {
    foreach (require __DIR__ . '/cases/rabbitmq.php' as $name => $case) {
        $rabbitmq["$connector: $name"] = $case;
    }
}

return ['redis' => $redis, 'rabbitmq' => $rabbitmq];
