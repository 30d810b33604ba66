<?php

/**
 * The intended differences between the extension and celery-php on RabbitMQ, in the form of redis.php.
 */

declare(strict_types=1);

namespace CeleryParity;

/** Returns the places that change when a call that threw before now returns. */
$returns = fn (string $call, mixed $value): array => [
    "$call > returned" => $value,
    "$call > threw" => Transcript::ABSENT,
    "$call > parents" => Transcript::ABSENT,
    "$call > code" => Transcript::ABSENT,
];
/** Returns the places that change when a call that returned something before now throws. */
$throws = fn (string $call, string $class, array $parents = [], int $code = 0): array => [
    "$call > returned" => Transcript::ABSENT,
    "$call > threw" => $class,
    "$call > parents" => $parents,
    "$call > code" => $code,
];
/** Returns the places of a message that celery-php has lost. */
$arrives = fn (string $queue): array => [
    'posted > 0' => ['queue' => $queue, 'task' => 'proj.add', 'id' => '<id>', 'args' => [2, 3], 'kwargs' => ['stdClass' => []]],
];
/** Returns cases with the names that they have with each connector. */
$ofEach = function (array $cases): array {
    $all = [];
    foreach (RabbitMqLab::CONNECTORS as $connector) {
        foreach ($cases as $name => $places) {
            $all["$connector: $name"] = $places;
        }
    }

    return $all;
};
$properties = [
    'exchange' => '',
    'encoding' => 'utf-8',
    'delivery mode' => 2,
    'others > 0' => 'correlation_id',
    'others > 1' => 'reply_to',
];
/** The places of a client that connects late, and of what then fails. */
$late = fn (string $class): array => $returns('construct', null) + ['post > threw' => $class, 'post > parents > 0' => 'CeleryException'];
/** The places of a result that celery-php does not see. */
$read = fn (mixed $value, string $status): array => [
    ...$returns('after > get', $value),
    ...$returns('after > status', $status),
    ...$returns('after > success', $status === 'SUCCESS'),
    'after > ready > returned' => true,
];

return [
    [
        'why' => 'Messages go straight to their queue, persistent, with the properties of Celery\'s own producers.',
        'cases' => $ofEach(['properties' => $properties, 'properties of persistent messages' => $properties]),
    ],
    [
        'why' => 'The client connects only when needed, and a failure is a CeleryException, not one of the library.',
        'cases' => $ofEach([
            'wrong password' => $late('CeleryConnectionException'),
            'no server listens' => $late('CeleryConnectionException'),
            'unknown vhost' => $late('CeleryPublishException'),
        ]),
    ],
    [
        'why' => 'A message that reaches no queue creates its queue, exchange and binding. celery-php loses it.',
        'cases' => [
            'pecl: nothing is declared' => $arrives('celery') + [
                'there > array > queues > 0' => 'celery',
                'there > array > exchanges > 0' => 'celery',
            ],
            'pecl: nothing is declared, and the names differ' => $arrives('orders') + [
                'there > array > queues > 0' => 'orders',
                'there > array > exchanges > 0' => 'market-pecl',
            ],
            'php-amqplib: nothing is declared' => $arrives('celery'),
            'php-amqplib: nothing is declared, and the names differ' => $arrives('orders'),
        ],
    ],
    [
        'why' => '$exchange and $binding of one name are a queue, which needs no exchange.',
        'cases' => $ofEach(['exchange and binding of one name' => $arrives('mail')]),
    ],
    [
        'why' => 'The routing key names the queue; PECL ignores it.',
        'cases' => [
            'pecl: a routing key' => ['posted > 0 > queue' => 'mail'],
            'pecl: a routing key of a queue at the usual exchange' => ['posted > 0 > queue' => 'mail'],
        ],
    ],
    [
        'why' => 'With an exchange of another name, the binding is the routing key; php-amqplib sends `celery`, which reaches no queue.',
        'cases' => ['php-amqplib: exchange and binding that differ' => $arrives('orders')],
    ],
    [
        'why' => 'A queue that exists is not declared again, whatever its arguments.',
        'cases' => ['php-amqplib: a queue with arguments of its own' => $returns('answer', true) + $arrives('celery')],
    ],
    [
        'why' => 'Results come as replies (Celery\'s `rpc://`). No Celery since version 4 writes those that PECL reads, and php-amqplib reads none.',
        'cases' => [
            ...$ofEach([
                'result as a reply' => $read(5, 'SUCCESS'),
                'failure as a reply' => $read(['stdClass' => ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']], 'FAILURE'),
            ]),
            'pecl: result of the backend amqp of Celery 3' => [
                ...$throws('after > get', 'CeleryTimeoutException', ['CeleryException'], 4),
                'after > ready > returned' => false,
                ...$throws('after > status', 'CeleryException'),
                ...$throws('after > success', 'CeleryException'),
            ],
        ],
    ],
];
