<?php

/**
 * Shows how to distinguish the errors of sending a task, and how to repeat a post safely.
 *
 * Prints:
 *
 *     not sent: CeleryException
 *     not reached: CeleryConnectionException
 *     perhaps sent: the outcome of order-18 is unknown
 *     sent once: 5
 */

$url = getenv('CELERY_BROKER_URL') ?: 'redis://localhost:6379/0';

/** Sends an addition and returns what happened to it. */
function attempt(Celery $client, array $arguments, string $id): string
{
    try {
        return 'sent once: ' . $client->PostTask('proj.add', $arguments, true, 'celery', ['id' => $id])->get(10);
    } catch (CeleryPublishException $e) {
        // If the outcome is unknown, the task may be in the queue. Sending it again may run it twice.
        return $e->outcomeUnknown()
            ? "perhaps sent: the outcome of {$e->taskId()} is unknown"
            : 'refused: certainly not in the queue';
    } catch (CeleryConnectionException $e) {
        // The broker was not reached: the task is certainly not in the queue.
        return 'not reached: ' . get_class($e);
    } catch (CeleryException $e) {
        // The call cannot be made as it is. Trying again does not help.
        return 'not sent: ' . get_class($e);
    }
}

echo attempt(new Celery($url), [NAN, 1], 'order-16'), "\n";

// Nothing listens on port 1.
echo attempt(new Celery('redis://127.0.0.1:1/0'), [2, 3], 'order-17'), "\n";

// This server takes the task and does not answer in time. It is Redis itself, paused for a second.
$client = new Celery($url);
$client->PostTask('proj.noop', [], false);
$address = parse_url($url);
$redis = stream_socket_client("tcp://{$address['host']}:" . ($address['port'] ?? 6379));
fwrite($redis, "CLIENT PAUSE 1000 WRITE\r\n");
fgets($redis);
ini_set('celery.post_timeout', '0.3');
echo attempt($client, [2, 3], 'order-18'), "\n";
ini_restore('celery.post_timeout');

// With `once` a lost answer is followed by a repeat, which cannot queue the task twice.
ini_set('celery.publish', 'once');
echo attempt($client, [2, 3], 'order-19'), "\n";
ini_restore('celery.publish');
