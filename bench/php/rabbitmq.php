<?php

/**
 * Posts tasks to RabbitMQ by the extension. Order: {posts, body, batch}; with a batch of 0 one at a
 * time, by `celery.publish`. Answer: {seconds, processor}; both include the last flush.
 */

require __DIR__ . '/serve.php';

$client = new Celery(getenv('AMQP_URL'));
serve(function (array $order) use ($client): array {
    $args = [str_repeat('x', $order['body'])];

    return timed(function () use ($client, $order, $args): void {
        if ($order['batch'] === 0) {
            for ($i = 0; $i < $order['posts']; $i++) {
                $client->PostTask('noop', $args, false, 'bench');
            }
            $client->flush();

            return;
        }
        for ($sent = 0; $sent < $order['posts']; $sent += $order['batch']) {
            $client->PostTasks(array_fill(0, $order['batch'], ['noop', $args]), false, 'bench');
        }
    });
});
