--TEST--
Celery\Events: types, limits, deadlines, a signal handler and a fork in the middle of a wait
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
$prefix = fresh('prefix') . ':';
$client = new Celery\Client(redis_url(), keyPrefix: $prefix);

/** Publishes events as a worker does: task events as a list, others alone. */
function publish(array ...$events): void
{
    global $prefix;
    $events = array_map(fn (array $event) => $event + ['hostname' => 'celery@web1', 'timestamp' => 1.5, 'clock' => 7], $events);
    $is_task = str_starts_with($events[0]['type'], 'task-');
    $key = $is_task ? 'task.multi' : str_replace('-', '.', $events[0]['type']);
    $body = base64_encode(json_encode($is_task ? $events : $events[0]));
    redis()->publish("{$prefix}/0.celeryev/$key", json_encode([
        'body' => $body, 'content-type' => 'application/json', 'content-encoding' => 'utf-8', 'headers' => ['hostname' => 'celery@web1'],
        'properties' => ['body_encoding' => 'base64', 'delivery_tag' => 'x', 'delivery_info' => ['exchange' => 'celeryev', 'routing_key' => $key]],
    ]));
}

$events = $client->events(['task-*', 'mine-*'], timeout: 20, limit: 3);
publish(['type' => 'worker-heartbeat']);
publish(['type' => 'task-started', 'uuid' => 'a'], ['type' => 'task-succeeded', 'uuid' => 'a', 'result' => "'x'", 'runtime' => 1.0]);
publish(['type' => 'mine-own-event', 'price' => [1, 2.5, null]]);
publish(['type' => 'task-failed', 'uuid' => 'b']);
foreach ($events as $number => $event) {
    echo "$number ", json_encode([$event->type, $event->hostname, $event->timestamp, $event->clock, $event->uuid]), ' ', count($event->fields), "\n";
}
echo json_encode($event), "\n";
// The limit is that of loops.
echo count(iterator_to_array($events)), ' ', $events->next(20)->uuid, "\n";
var_dump($events->next(0.01));
try {
    $event->type = 'x';
} catch (Error $e) {
    echo $e->getMessage(), "\n";
}

echo "deadline: ", count(iterator_to_array($client->events(timeout: 0.05))), "\n";

echo "signal:\n";
pcntl_async_signals(true);
pcntl_signal(SIGALRM, function () use ($events) {
    show(fn () => $events->next());
    publish(['type' => 'task-started', 'uuid' => 'c']);
});
posix_kill(getmypid(), SIGALRM);
pcntl_alarm(1);
var_dump($events->next(20)->uuid, $events->next(20)->uuid);

echo "fork:\n";
$events = $client->events('task-*', timeout: 20);
$child = pcntl_fork();
if ($child === 0) {
    $seen = $events->next(20)?->uuid;
    file_put_contents('php://stdout', "child: $seen\n");
    posix_kill(getmypid(), SIGKILL);
}
// The child subscribes for itself. The handler of the signal keeps the first subscription.
until('the child', fn () => redis()->publish("{$prefix}/0.celeryev/task.none", 'x') === 3);
publish(['type' => 'task-started', 'uuid' => 'd']);
pcntl_waitpid($child, $status);
echo 'parent: ', $events->next(20)->uuid, "\n";

echo "close:\n";
$events->close();
var_dump($events->next(20), count(iterator_to_array($events)));
$events->close();
show(fn () => (new Celery\Client('redis://127.0.0.1:' . closed_port()))->events());
?>
--EXPECTF--
0 ["task-started","celery@web1",1.5,7,"a"] 5
1 ["task-succeeded","celery@web1",1.5,7,"a"] 7
2 ["mine-own-event","celery@web1",1.5,7,null] 5
{"clock":7,"hostname":"celery@web1","price":[1,2.5,null],"timestamp":1.5,"type":"mine-own-event"}
0 b
NULL
Cannot modify readonly property Celery\Event::$type
deadline: 0
signal:
NULL
LogicException: Another call is waiting for the next of these events.
string(1) "c"
string(1) "c"
fork:
child: d
parent: d
close:
NULL
int(0)
CeleryConnectionException: Could not listen to events on redis://127.0.0.1:%d/0: Connection refused (os error 111). Check that Redis runs there, and the host and the port.
