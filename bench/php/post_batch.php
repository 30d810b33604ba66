<?php

/**
 * Posts tasks by PostTasks(). Order: {posts, body, batch}; making the list of a batch counts too.
 * Answer: {seconds, processor}.
 */

require __DIR__ . '/client.php';

$client = client();
serve(function (array $order) use ($client): array {
    $args = [str_repeat('x', $order['body'])];
    return timed(function () use ($client, $order, $args): void {
        for ($sent = 0; $sent < $order['posts']; $sent += $order['batch']) {
            $tasks = [];
            for ($i = 0; $i < $order['batch']; $i++) {
                $tasks[] = ['noop', $args];
            }
            $client->PostTasks($tasks);
        }
    });
});
