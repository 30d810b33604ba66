<?php

/**
 * Posts tasks one at a time. Order: {posts, body}: how many, each with one argument of so many bytes.
 * Answer: {seconds, processor}, the last flush included where posting is pipelined.
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
