<?php

/**
 * Posts messages to RabbitMQ by ext-amqp, each with confirm and mandatory. It builds no task: the
 * message is one of Celery's in form and size, always the same. Order: {posts, body, batch}; with a
 * batch, all of its messages are published before the confirms are awaited. Answer: {seconds,
 * processor}.
 */

require __DIR__ . '/serve.php';

$connection = new AMQPConnection(['host' => '127.0.0.1', 'port' => (int) getenv('AMQP_PORT'), 'login' => 'guest', 'password' => 'guest']);
$connection->connect();
$channel = new AMQPChannel($connection);
$channel->confirmSelect();
$confirmed = 0;
$expected = 0;
$channel->setConfirmCallback(function (int $tag, bool $multiple) use (&$confirmed, &$expected): bool {
    $confirmed = $multiple ? $tag : $confirmed + 1;

    return $confirmed < $expected;
}, fn () => exit("a message was refused\n"));
$channel->setReturnCallback(fn () => exit("a message was returned\n"));
$exchange = new AMQPExchange($channel);
serve(function (array $order) use ($channel, $exchange, &$confirmed, &$expected): array {
    $body = json_encode([[str_repeat('x', $order['body'])], (object) [], ['callbacks' => null, 'errbacks' => null, 'chain' => null, 'chord' => null]]);
    $id = '5f4b1b9e-52e2-4f0a-9c0d-0a7a0a3d7b10';
    $properties = [
        'content_type' => 'application/json', 'content_encoding' => 'utf-8', 'delivery_mode' => 2, 'correlation_id' => $id, 'reply_to' => $id,
        'headers' => [
            'lang' => 'php', 'task' => 'noop', 'id' => $id, 'retries' => 0, 'root_id' => $id, 'argsrepr' => substr($body, 0, 1024),
            'kwargsrepr' => '{}', 'origin' => 'php1@bench', 'replaced_task_nesting' => 0,
        ],
    ];
    $batch = max($order['batch'], 1);

    return timed(function () use ($channel, $exchange, &$confirmed, &$expected, $order, $body, $properties, $batch): void {
        for ($sent = 0; $sent < $order['posts']; $sent += $batch) {
            for ($i = 0; $i < $batch; $i++) {
                $exchange->publish($body, 'bench', AMQP_MANDATORY, $properties);
            }
            $expected += $batch;
            while ($confirmed < $expected) {
                $channel->waitForConfirm(60);
            }
        }
    });
});
