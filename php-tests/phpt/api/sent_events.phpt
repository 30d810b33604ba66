--TEST--
task-sent events: celery.send_sent_event for both APIs, sentEvents for a client; fields as Celery's
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$prefix = fresh('prefix') . ':';
$client = new Celery\Client(redis_url(), queue: 'mails', keyPrefix: $prefix);
$events = $client->events('task-sent');
$eta = new DateTimeImmutable('2030-01-02T03:04:05+02:00');

/** Returns the events that a call causes. */
function caused(callable $call): array
{
    global $events;
    $call();
    $seen = [];
    while ($event = $events->next($seen === [] ? 5.0 : 0.2)) {
        $seen[] = $event;
    }

    return $seen;
}

echo "off: ", count(caused(fn () => $client->sendTask('proj.add', [1]))), "\n";

$announcing = $client->with(sentEvents: true);
[$sent] = caused(fn () => $announcing->sendTask('proj.add', [2, 'x'], ['y' => null], taskId: 'id-1', eta: $eta, expires: 86400.0));
$fields = $sent->fields;
ksort($fields);
echo implode(' ', array_keys($fields)), "\n";
foreach (['uuid', 'name', 'args', 'kwargs', 'root_id', 'parent_id', 'retries', 'eta', 'queue', 'exchange', 'routing_key'] as $name) {
    echo $name, ': ', json_encode($fields[$name]), "\n";
}
var_dump($fields['hostname'] === 'php' . getmypid() . '@' . gethostname(), $fields['pid'] === getmypid());
var_dump(is_string($fields['expires']), abs($sent->timestamp - microtime(true)) < 3600);

echo "in every way:\n";
ini_set('celery.send_sent_event', '1');
foreach (['confirmed', 'once', 'pipelined'] as $mode) {
    ini_set('celery.publish', $mode);
    $seen = caused(function () use ($client) {
        $client->sendTask('proj.add', [1]);
        $client->flush();
        (new Celery\Chain($client->signature('proj.add', [1]), $client->signature('proj.mul', [2])))->delay();
        (new Celery\Group($client->signature('proj.add', [1]), $client->signature('proj.mul', [2])))->delay();
        $client->flush();
    });
    echo $mode, ': ', implode(' ', array_map(fn ($event) => $event->fields['name'], $seen)), "\n";
}
ini_restore('celery.publish');

echo "the compatible API:\n";
$plain = (new Celery\Client(redis_url()))->events('task-sent');
$events = $plain;
$queue = fresh('queue');
$old = client(['exchange' => $queue]);
$mine = fn (array $seen) => array_values(array_filter($seen, fn ($event) => $event->fields['queue'] === $queue));
foreach ([2, 1] as $protocol) {
    ini_set('celery.task_protocol', (string) $protocol);
    $seen = $mine(caused(function () use ($old) {
        $old->PostTask('proj.add', [2, 3]);
        $old->PostTasks([['proj.mul', [1]], ['proj.mul', ['x' => 1]]]);
    }));
    foreach ($seen as $event) {
        echo $protocol, ' ', $event->fields['name'], ' ', $event->fields['args'], ' ', $event->fields['kwargs'], "\n";
    }
}
?>
--EXPECT--
off: 0
args clock eta exchange expires hostname kwargs name parent_id pid queue retries root_id routing_key timestamp type utcoffset uuid
uuid: "id-1"
name: "proj.add"
args: "(2, 'x')"
kwargs: "{'y': None}"
root_id: "id-1"
parent_id: null
retries: 0
eta: "2030-01-02T03:04:05+02:00"
queue: "mails"
exchange: ""
routing_key: "mails"
bool(true)
bool(true)
bool(true)
bool(true)
in every way:
confirmed: proj.add proj.add proj.add proj.mul
once: proj.add proj.add proj.add proj.mul
pipelined: proj.add proj.add proj.add proj.mul
the compatible API:
2 proj.add (2, 3) {}
2 proj.mul (1,) {}
2 proj.mul () {'x': 1}
1 proj.add (2, 3) {}
1 proj.mul (1,) {}
1 proj.mul () {'x': 1}
