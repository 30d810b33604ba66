<?php

/**
 * Waits for results, and shows what a failed task and one that is not done look like.
 *
 * Prints:
 *
 *     5 is the result; the state is SUCCESS
 *     done already: yes
 *     failed: ValueError: no such order
 *     not done within 0.2 s
 *     done at last: SUCCESS
 */

$client = new Celery(getenv('CELERY_BROKER_URL') ?: 'redis://localhost:6379/0');

$result = $client->PostTask('proj.add', [2, 3]);
echo $result->get(10), ' is the result; the state is ', $result->getStatus(), "\n";
echo 'done already: ', $result->isReady() ? 'yes' : 'no', "\n";

// get() returns the error of a failed task as a value. isSuccess() distinguishes it from a result.
$result = $client->PostTask('proj.fail', ['no such order']);
$value = $result->get(10);
if (!$result->isSuccess()) {
    echo "failed: $value->exc_type: ", implode(', ', (array) $value->exc_message), "\n";
}

// get() waits no longer than its timeout. The result can be asked again later.
$result = $client->PostTask('proj.sleep', [1]);
try {
    $result->get(0.2);
} catch (CeleryTimeoutException $e) {
    echo "not done within 0.2 s\n";
}
$result->get(10);
echo 'done at last: ', $result->getStatus(), "\n";
