<?php

/**
 * Posts a task and waits for its result, again and again. Order: {posts}. Answer: {latencies,
 * pings, wrong}: the seconds of each round trip, the seconds of equally many PINGs, and the number
 * of wrong results.
 *
 * A pause comes before each round trip and before each PING, so that Redis and the worker are
 * asleep when it begins.
 */

const PAUSE = 2000; // microseconds

require __DIR__ . '/client.php';

$client = client();
$redis = phpredis();
serve(function (array $order) use ($client, $redis): array {
    $answer = ['latencies' => [], 'pings' => [], 'wrong' => 0];
    for ($i = 0; $i < $order['posts']; $i++) {
        usleep(PAUSE);
        $answer['latencies'][] = seconds(function () use ($client, $i, &$answer): void {
            $result = $client->PostTask('proj.add', [$i, 1]);
            $answer['wrong'] += $result->get() === $i + 1 ? 0 : 1;
        });
        usleep(PAUSE);
        $answer['pings'][] = seconds(fn () => $redis->ping());
    }
    return $answer;
});
