<?php

/**
 * Sends many tasks in one round trip: PostTasks().
 *
 * Prints:
 *
 *     apple: 3
 *     pear: 7
 *     squares: 0 1 4 9 16
 *     CeleryException: nothing was sent, because of the task "bad"
 */

$client = new Celery(getenv('CELERY_BROKER_URL') ?: 'redis://localhost:6379/0');

// The results have the keys of the tasks.
$results = $client->PostTasks([
    'apple' => ['proj.add', [1, 2]],
    'pear' => ['proj.add', ['x' => 3, 'y' => 4], ['expires' => 60]],
]);
foreach ($results as $article => $result) {
    echo "$article: ", $result->get(10), "\n";
}

// The tasks may come from a generator.
$squares = (function () {
    for ($n = 0; $n < 5; ++$n) {
        yield $n => ['proj.mul', [$n, $n]];
    }
})();
$values = array_map(static fn ($result) => $result->get(10), $client->PostTasks($squares));
echo 'squares: ', implode(' ', $values), "\n";

// All tasks are checked before the first is sent.
try {
    $client->PostTasks(['good' => ['proj.add', [1, 2]], 'bad' => ['proj.add', [NAN, 2]]]);
} catch (CeleryException $e) {
    $sent = str_contains($e->getMessage(), 'No task was sent') ? 'nothing was sent' : 'sent';
    $because = str_contains($e->getMessage(), 'bad') ? 'the task "bad"' : 'another one';
    echo get_class($e), ": $sent, because of $because\n";
}
