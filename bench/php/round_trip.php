<?php

/**
 * Posts a task, waits for its result, and again. Order: {posts}.
 * Answer: {latencies, pings, wrong}: seconds each took, seconds of as many PINGs, and how many results were not the task's.
 */

require __DIR__ . '/client.php';

$client = client();
$redis = phpredis();
serve(function (array $order) use ($client, $redis): array {
    $answer = ['latencies' => [], 'pings' => [], 'wrong' => 0];
    for ($i = 0; $i < $order['posts']; $i++) {
        $answer['latencies'][] = seconds(function () use ($client, $i, &$answer): void {
            $result = $client->PostTask('proj.add', [$i, 1]);
            $answer['wrong'] += $result->get() === $i + 1 ? 0 : 1;
        });
        $answer['pings'][] = seconds(fn () => $redis->ping());
    }
    return $answer;
});
