<?php

/**
 * Sends tasks: positional and keyword arguments, another queue, options.
 *
 * Prints:
 *
 *     positional: 5
 *     keyword: 9
 *     without a result: true
 *     for another queue: true
 *     with its own id: order-17
 */

$client = new Celery(getenv('CELERY_BROKER_URL') ?: 'redis://localhost:6379/0');

// A list: positional arguments.
$result = $client->PostTask('proj.add', [2, 3]);
echo 'positional: ', $result->get(10), "\n";

// Any other array: keyword arguments.
$result = $client->PostTask('proj.add', ['x' => 4, 'y' => 5]);
echo 'keyword: ', $result->get(10), "\n";

// With false, PostTask() makes no result object and returns true.
echo 'without a result: ', var_export($client->PostTask('proj.noop', [], false), true), "\n";

// Another queue, which a worker serves with --queues reports. It runs the task within an hour or
// not at all.
$posted = $client->PostTask('proj.add', [1, 1], false, 'reports', ['expires' => 3600]);
echo 'for another queue: ', var_export($posted, true), "\n";

// You may choose the id.
$result = $client->PostTask('proj.add', [1, 1], true, 'celery', ['id' => 'order-17']);
echo 'with its own id: ', $result->getId(), "\n";
