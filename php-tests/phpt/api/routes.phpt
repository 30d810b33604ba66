--TEST--
Routes by globs, arrays and closures; the client's headers and defaults; what counts more
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;

$queue = fresh();
/** Shows where a message went, with a few of its fields. */
function sent(string $queue, string $list): void
{
    $message = message($queue . $list);
    if ($message === null) {
        echo "nothing in $list\n";
        return;
    }
    $headers = $message['headers'];
    echo $headers['task'] ?? 'protocol 1', ' in ', $list === '' ? '(default)' : $list, ' ', json_encode([
        'priority' => $message['properties']['priority'], 'type' => $message['content-type'], 'ignore' => $headers['ignore_result'] ?? null,
        'trace' => $headers['trace'] ?? null, 'x' => $headers['x'] ?? null, 'shadow' => $headers['shadow'] ?? null,
    ], JSON_UNESCAPED_SLASHES), "\n";
}

$calls = [];
$client = new Client(redis_url(), queue: $queue, headers: ['trace' => 'client', 'x' => 1], ignoreResult: true, routes: [
    'mail.urgent' => "$queue-urgent",
    'mail.*' => "$queue-mails",
    'video.[ab]?' => ['queue' => "$queue-video", 'priority' => 9, 'serializer' => Celery\Serializer::Msgpack, 'headers' => ['x' => 'route']],
    'video.[!ab]*' => ['queue' => "$queue-other", 'routingKey' => null, 'ignoreResult' => false],
    'old.*' => ['queue' => "$queue-old", 'protocol' => 1],
    'asked.*' => function (string $task, array $args, array $kwargs) use (&$calls, $queue): string|array|null {
        $calls[] = [$task, $args, $kwargs];

        return $args === [] ? null : ['queue' => "$queue-asked", 'shadow' => "asked for $task"];
    },
    'asked.b*' => "$queue-after",
]);
foreach ([
    'mail.urgent' => '-urgent', 'mail.send' => '-mails', 'video.a1' => "-video\x06\x169", 'video.c' => '-other', 'video.' => '',
    'old.task' => '-old', 'unrouted' => '', 'MAIL.send' => '',
] as $task => $list) {
    $client->sendTask($task);
    sent($queue, $list);
}
$client->sendTask('asked.a', [1, 2.5], ['k' => ['deep' => [true]]]);
sent($queue, '-asked');
$client->sendTask('asked.a');
sent($queue, '');
$client->sendTask('asked.b');
sent($queue, '-after');
echo json_encode($calls), "\n";

// A call counts more than a signature, that more than a route, and that more than the client.
$signature = $client->signature('video.a1', priority: 6, headers: ['x' => 'signature']);
$signature->delay();
sent($queue, "-video\x06\x166");
$signature->applyAsync(priority: 3, serializer: 'json', ignoreResult: false);
sent($queue, "-video\x06\x163");
// A queue that is named needs no route.
$signature->applyAsync(queue: "$queue-named");
sent($queue, "-named\x06\x166");
$client->signature('mail.send')->map([1, 2])->delay();
sent($queue, '-mails');

// Times from now are written in the client's zone; others keep theirs.
$zoned = $client->with(timezone: new DateTimeZone('Asia/Kolkata'), headers: []);
foreach ([['countdown' => 10], ['countdown' => 0.25, 'expires' => 60], ['eta' => new DateTime('2030-01-02T03:04:05+02:00')], ['countdown' => 0]] as $times) {
    $before = time();
    $zoned->sendTask('unrouted', [], ...$times);
    $headers = message($queue)['headers'];
    foreach (['eta', 'expires'] as $name) {
        $time = $headers[$name] === null ? null : new DateTime($headers[$name]);
        echo $name, ' ', $time === null ? 'none' : $time->format('P') . ' ' . ($time->format('Y') === '2030' ? 'as given' : (abs($time->getTimestamp() - $before - ($times['expires'] ?? null) * ($name === 'expires' ? 1 : 0) - ($times['countdown'] ?? 0) * ($name === 'eta' ? 1 : 0)) < 20 ? 'in time' : 'wrong')), $name === 'eta' ? ', ' : "\n";
    }
}

echo "\n";
$throws = fn (mixed $route) => $client->with(routes: ['*' => $route]);
show(fn () => $throws(fn () => throw new DomainException('from the route'))->sendTask('a'));
show(fn () => $throws(fn () => 5)->sendTask('a'));
show(fn () => $throws(['que' => 'x'])->sendTask('a'));
show(fn () => $throws('')->sendTask('a'));
show(fn () => $throws(['priority' => INF])->sendTask('a'));
show(fn () => $throws(['serializer' => 'pickle'])->sendTask('a'));
show(fn () => $throws(5));
show(fn () => $client->with(routes: [5 => 'x']));
show(fn () => $client->with(headers: fn () => throw new DomainException('from the headers'))->sendTask('a'));
show(fn () => $client->with(headers: fn () => 'x')->sendTask('a'));
show(fn () => $client->with(headers: fn () => ['task' => 'x'])->sendTask('a'));
sent($queue, '');
?>
--EXPECT--
mail.urgent in -urgent {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
mail.send in -mails {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
video.a1 in -video9 {"priority":9,"type":"application/x-msgpack","ignore":true,"trace":"client","x":"route","shadow":null}
video.c in -other {"priority":0,"type":"application/json","ignore":false,"trace":"client","x":1,"shadow":null}
video. in (default) {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
protocol 1 in -old {"priority":0,"type":"application/json","ignore":null,"trace":"client","x":1,"shadow":null}
unrouted in (default) {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
MAIL.send in (default) {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
asked.a in -asked {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":"asked for asked.a"}
asked.a in (default) {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
asked.b in -after {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
[["asked.a",[1,2.5],{"k":{"deep":[true]}}],["asked.a",[],[]],["asked.b",[],[]]]
video.a1 in -video6 {"priority":6,"type":"application/x-msgpack","ignore":true,"trace":"client","x":"signature","shadow":null}
video.a1 in -video3 {"priority":3,"type":"application/json","ignore":false,"trace":"client","x":"signature","shadow":null}
video.a1 in -named6 {"priority":6,"type":"application/json","ignore":true,"trace":"client","x":"signature","shadow":null}
celery.map in -mails {"priority":0,"type":"application/json","ignore":true,"trace":"client","x":1,"shadow":null}
eta +05:30 in time, expires none
eta +05:30 in time, expires +05:30 in time
eta +02:00 as given, expires none
eta none, expires none

DomainException: from the route
Celery\InvalidConfiguration: The task was not sent: the route of a cannot be used: it is neither a queue nor an array of options.
Celery\InvalidConfiguration: The task was not sent: the route of a cannot be used: it has no option "que".
Celery\InvalidConfiguration: The task was not sent: the route of a cannot be used: its queue cannot be used: queue name is empty.
Celery\Unencodable: The task was not sent: priority is not a finite number.
CeleryException: The task was not sent: an option cannot be used: the serializer "pickle".
ValueError: Celery\Client::with(): Argument #2 ($routes) must map globs of task names to queues, arrays of options, or closures
ValueError: Celery\Client::with(): Argument #2 ($routes) must map globs of task names to queues, arrays of options, or closures
DomainException: from the headers
CeleryException: The task was not sent: the closure of the headers returned no array.
CeleryException: The task was not sent: the header task belongs to Celery's protocol: choose another name.
nothing in
