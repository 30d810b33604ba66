<?php

/**
 * Fetches results in a later request: by the id, or from a stored object. Shows a task's progress.
 *
 * Prints:
 *
 *     by its id: 42
 *     from a stored object: 5
 *     PROGRESS: 1 of 2
 *     SUCCESS: done
 *     forgotten: nothing is stored
 */

$client = new Celery(getenv('CELERY_BROKER_URL') ?: 'redis://localhost:6379/0');

// The id alone is enough, in a session or a table.
$id = $client->PostTask('proj.add', [20, 22])->getId();
// … in a later request. False as the last argument leaves the result in Redis.
while (!($stored = $client->getAsyncResultMessage('proj.add', $id, null, false))) {
    usleep(20_000);
}
echo 'by its id: ', $stored['complete_result']['result'], "\n";

// The result object can be stored, too. It contains no address and no password: the later request
// must construct a client of the same server first.
$text = serialize($client->PostTask('proj.add', [2, 3]));
echo 'from a stored object: ', unserialize($text)->get(10), "\n";

// A state that the task chose, and then the final one.
$id = $client->PostTask('proj.custom_state', [1])->getId();
do {
    usleep(20_000);
    $stored = $client->getAsyncResultMessage('', $id, null, false)['complete_result'] ?? ['status' => 'PENDING'];
    if ($stored['status'] === 'PROGRESS' && !isset($shown)) {
        $shown = "{$stored['result']['current']} of {$stored['result']['total']}";
        echo "PROGRESS: $shown\n";
    }
} while ($stored['status'] !== 'SUCCESS');
echo "SUCCESS: {$stored['result']}\n";

// A result that is not needed any more.
$result = $client->PostTask('proj.add', [1, 1]);
$id = $result->getId();
while (!$client->getAsyncResultMessage('', $id, null, false)) {
    usleep(20_000);
}
$result->forget();
echo 'forgotten: ', $client->getAsyncResultMessage('', $id, null, false) ? 'stored' : 'nothing is stored', "\n";
