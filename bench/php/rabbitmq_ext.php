<?php

/**
 * Posts messages to RabbitMQ by ext-amqp, each with confirm and mandatory. It builds no task: it takes
 * the message that waits in the queue, which the extension posted, and publishes its body and
 * properties again and again. Order: {posts, batch}; with a batch, all of its messages are published
 * before the confirms are awaited. Answer: {seconds, processor}.
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
$queue = new AMQPQueue($channel);
$queue->setName('bench');
$message = $queue->get(AMQP_AUTOACK) ?: exit("no message waits in the queue\n");
$body = $message->getBody();
$properties = [
    'content_type' => $message->getContentType(), 'content_encoding' => $message->getContentEncoding(),
    'delivery_mode' => $message->getDeliveryMode(), 'correlation_id' => $message->getCorrelationId(),
    'reply_to' => $message->getReplyTo(), 'headers' => $message->getHeaders(),
];
serve(function (array $order) use ($channel, $exchange, $body, $properties, &$confirmed, &$expected): array {
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
