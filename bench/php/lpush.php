<?php

/**
 * Measures the highest possible speed: phpredis pushes a message that the extension wrote. The
 * benchmark (bench/rows/post.py) keeps it in the key `bench:message`.
 *
 * Order: {posts, batch}. With batch 0, each LPUSH waits for its answer; otherwise batch is the
 * number of messages in a pipeline. Answer: {seconds, processor}; processor is CPU seconds.
 */

require __DIR__ . '/serve.php';

$redis = phpredis();
serve(function (array $order) use ($redis): array {
    $message = $redis->get('bench:message');
    return timed(function () use ($redis, $order, $message): void {
        if (!$order['batch']) {
            for ($i = 0; $i < $order['posts']; $i++) {
                $redis->lPush('celery', $message);
            }
            return;
        }
        for ($sent = 0; $sent < $order['posts']; $sent += $order['batch']) {
            $pipeline = $redis->pipeline();
            for ($i = 0; $i < $order['batch']; $i++) {
                $pipeline->lPush('celery', $message);
            }
            $pipeline->exec();
        }
    });
});
