<?php

/**
 * RabbitMQ: where a message arrives, and what exists then. Each case runs with each of celery-php's
 * two connectors.
 */

declare(strict_types=1);

use CeleryParity\PrivateRedis;
use CeleryParity\RabbitMqLab;

/** Posts after a worker has declared the queue `celery`. */
$post = fn (array $arguments, mixed ...$post) => fn (RabbitMqLab $lab) => $lab->declare()->postAndLook(
    fn () => $lab->client($arguments)->PostTask(...$post),
);
/** Constructs and posts, each with its answer. */
$connects = fn (array $arguments) => fn (RabbitMqLab $lab) => [
    'construct' => $lab->declare()->answer(function () use ($lab, $arguments, &$client) {
        $client = $lab->client($arguments);
    }),
    'post' => $lab->answer(fn () => $client?->PostTask('proj.add', [2, 3], false)),
    'posted' => count($lab->posted()),
];
$properties = fn (array $arguments) => function (RabbitMqLab $lab) use ($arguments): array {
    $lab->declare()->client($arguments)->PostTask('proj.add', [2, 3], false);
    $message = $lab->envelopes()['celery'][0];
    $is = (array) $message->properties;

    return [
        'exchange' => $message->exchange,
        'routing key' => $message->routing_key,
        'type' => $is['content_type'] ?? null,
        'encoding' => $is['content_encoding'] ?? null,
        'delivery mode' => $is['delivery_mode'] ?? null,
        'others' => array_keys(array_diff_key($is, array_flip(['content_type', 'content_encoding', 'delivery_mode']))),
    ];
};
/** Reads a result before and after a worker has sent it. */
$result = fn (string $way, array $document) => function (RabbitMqLab $lab) use ($way, $document): array {
    $result = $lab->known($lab->declare()->declareResults()->client()->PostTask('proj.add', [2, 3]));
    $before = [
        'ready' => $lab->answer(fn () => $result->isReady()),
        'state' => $lab->answer(fn () => $result->state),
        'status' => $lab->answer(fn () => $result->getStatus()),
    ];
    $lab->reply($way, $result->getId(), $document);

    return ['before' => $before, 'after' => [
        'get' => $lab->answer(fn () => $result->get(2, true, 0.05)),
        'ready' => $lab->answer(fn () => $result->isReady()),
        'status' => $lab->answer(fn () => $result->getStatus()),
        'success' => $lab->answer(fn () => $result->isSuccess()),
    ]];
};
$at = '2030-01-02T03:04:05+00:00';

return [
    'a task' => $post([], 'proj.add', [2, 3]),
    'no result is wanted' => $post([], 'proj.add', [2, 3], false),
    'keywords' => $post([], 'proj.add', ['x' => 2, 'y' => 3]),
    'task_args' => $post([], 'proj.add', [2, 3], true, 'celery', ['eta' => $at, 'expires' => '2035-02-02T03:04:05+00:00', 'retries' => 2]),
    'several tasks, in order' => fn (RabbitMqLab $lab) => $lab->declare()->postAndLook(function () use ($lab) {
        $client = $lab->client();
        foreach (['a', 'b', 'c'] as $letter) {
            $lab->known($client->PostTask('proj.echo', [$letter]), "<$letter>");
        }
    }),
    'arguments that are not an array' => $post([], 'proj.add', 5),
    'properties' => $properties([]),
    'properties of persistent messages' => $properties(['persistent_messages' => true]),

    'a routing key' => fn (RabbitMqLab $lab) => $lab->declare()->declare('mail')->postAndLook(
        fn () => $lab->client()->PostTask('proj.add', [2, 3], false, 'mail'),
    ),
    'a routing key of a queue at the usual exchange' => fn (RabbitMqLab $lab) => $lab->declare()->declare('mail', 'celery')->postAndLook(
        fn () => $lab->client()->PostTask('proj.add', [2, 3], false, 'mail'),
    ),
    'exchange and binding of one name' => fn (RabbitMqLab $lab) => $lab->declare('mail')->postAndLook(
        fn () => $lab->client(['exchange' => 'mail', 'binding' => 'mail'])->PostTask('proj.add', [2, 3], false),
    ),
    'exchange and binding that differ' => fn (RabbitMqLab $lab) => $lab->declare('orders', 'shop')->postAndLook(
        fn () => $lab->client(['exchange' => 'shop', 'binding' => 'orders'])->PostTask('proj.add', [2, 3], false),
    ),
    'exchange and binding that differ, and the routing key of the binding' => fn (RabbitMqLab $lab) => $lab->declare('orders', 'shop')->postAndLook(
        fn () => $lab->client(['exchange' => 'shop', 'binding' => 'orders'])->PostTask('proj.add', [2, 3], false, 'orders'),
    ),
    'a queue with arguments of its own' => fn (RabbitMqLab $lab) => $lab->declare(arguments: ['x-max-priority' => 10])->postAndLook(
        fn () => $lab->client()->PostTask('proj.add', [2, 3], false),
    ),
    'nothing is declared' => fn (RabbitMqLab $lab) => $lab->postAndLook(fn () => $lab->client()->PostTask('proj.add', [2, 3], false)),
    // An exchange that no other case uses: the extension looks for one once on each connection.
    'nothing is declared, and the names differ' => fn (RabbitMqLab $lab) => $lab->postAndLook(
        fn () => $lab->client(['exchange' => "market-{$lab->connector}", 'binding' => 'orders'])->PostTask('proj.add', [2, 3], false),
    ),

    'port as a string' => fn (RabbitMqLab $lab) => $connects(['port' => (string) $lab->rabbitmq->port])($lab),
    'host by name' => $connects(['host' => 'localhost']),
    'connector left to choose' => $connects(['connector' => false]),
    'wrong password' => $connects(['password' => 'wrong']),
    'unknown vhost' => $connects(['vhost' => 'elsewhere']),
    'no server listens' => fn (RabbitMqLab $lab) => $connects(['port' => PrivateRedis::freePort()])($lab),

    'result of the backend amqp of Celery 3' => $result('amqp', ['status' => 'SUCCESS', 'result' => 5]),
    'result as a reply' => $result('rpc', ['status' => 'SUCCESS', 'result' => 5]),
    'failure as a reply' => $result('rpc', ['status' => 'FAILURE', 'result' => ['exc_type' => 'ValueError', 'exc_message' => ['alas'], 'exc_module' => 'builtins']]),
];
