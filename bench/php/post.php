<?php

/**
 * Posts tasks one at a time. Order: {posts, body}, the number of tasks and the bytes of their one
 * argument. Answer: {seconds, processor}; both include the last flush if posting is pipelined.
 */

require __DIR__ . '/client.php';

$client = client();
serve(function (array $order) use ($client): array {
    $args = [str_repeat('x', $order['body'])];
    return timed(function () use ($client, $order, $args): void {
        for ($i = 0; $i < $order['posts']; $i++) {
            $client->PostTask('noop', $args);
        }
        if (ini_get('celery.publish') === 'pipelined') {
            $client->flush();
        }
    });
});
