<?php

/**
 * Sends tasks in a loop without waiting for each answer: celery.publish = pipelined.
 *
 * Prints:
 *
 *     1000 tasks sent
 *     the first is 1, the last 1000
 */

$client = new Celery(getenv('CELERY_BROKER_URL') ?: 'redis://localhost:6379/0');

ini_set('celery.publish', 'pipelined');
$results = [];
for ($i = 0; $i < 1000; ++$i) {
    $results[] = $client->PostTask('proj.add', [$i, 1]);
}
// flush() reads the answers. Without this call they are read at the end of the request.
try {
    $client->flush();
    echo count($results), " tasks sent\n";
} catch (CeleryPublishException $e) {
    echo count($e->taskIds()), " tasks are not confirmed\n";
}
ini_set('celery.publish', 'confirmed');

echo "the first is {$results[0]->get(10)}, the last {$results[999]->get(10)}\n";
