--TEST--
A Redis Cluster: every call stays in the slot of its keys, on whichever node that is; an error has the nodes' words, or names what the URL lacks
--EXTENSIONS--
celery
redis
--SKIPIF--
<?php
if (!getenv('CLUSTER_URL')) {
    die('skip no cluster: testkit up cluster');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
use Celery\Client;

ini_set('celery.breaker_failures', '0');
$url = getenv('CLUSTER_URL');
$ports = explode(' ', getenv('CLUSTER_PORTS'));
$owner = new Redis();
$owner->connect('127.0.0.1', (int) $ports[0], 5);
$queue = fresh();
$pop = fn () => json_decode((string) $owner->rPop("{celery}:$queue"), true)['headers']['task'] ?? null;
$nodes = array_map(fn (string $port) => "redis+cluster://127.0.0.1:$port", $ports);
$silent = closed_port();

$calls = [
    'drop-in' => fn () => (new Celery($url, null, null, null, $queue))->PostTask('proj.add', [1, 2]),
    'a list, of which one node is away' => fn () => (new Client(["redis+cluster://127.0.0.1:$silent", $nodes[1]], queue: $queue, keyPrefix: '{celery}:'))->sendTask('proj.add'),
    'once' => fn () => (new Client($url, queue: $queue, publish: 'once'))->sendTask('proj.add'),
    'pipelined' => function () use ($url, $queue) {
        $client = new Client($url, queue: $queue, publish: 'pipelined');
        $client->sendTask('proj.add');
        $client->flush();
    },
];
foreach ($calls as $name => $call) {
    $call();
    echo "$name: ", $pop(), "\n";
}

$client = new Client($url, queue: $queue);
$result = $client->sendTask('proj.add', [2, 3]);
$document = fn (string $id, mixed $value) => json_encode(['status' => 'SUCCESS', 'result' => $value, 'traceback' => null, 'children' => [], 'task_id' => $id]);
$owner->setex("{celery}:celery-task-meta-{$result->id}", 60, $document($result->id, 5));
var_dump($result->get(30));
$result->forget();
var_dump($owner->exists("{celery}:celery-task-meta-{$result->id}"));

// A chord, a schedule, commands to workers and dead letters.
$add = $client->signature('proj.add', [1, 2]);
$client->send(new Celery\Chord([$add, $add], $client->signature('proj.xsum')));
echo 'chord: ', $owner->lLen("{celery}:$queue") - 1, ' ', count($owner->keys('{celery}:celery-taskset-meta-*')), "\n";
$name = fresh('entry');
$client->schedules()->add($name, new Celery\Interval(3600), $add);
echo 'schedule: ', json_encode($client->schedules()->remove($name)), "\n";
var_dump($client->control()->ping(timeout: 0.1), $client->deadLetters()->count(), $client->purge($queue));

foreach ($ports as $place => $port) {
    $node = new Redis();
    $node->connect('127.0.0.1', (int) $port, 5);
    $bare = array_filter($node->keys('*'), fn (string $key) => $place > 0 || !str_starts_with($key, '{celery}:'));
    echo "node $place: ", json_encode(array_values($bare)), "\n";
}

$errors = [
    'no prefix' => fn () => new Celery($nodes[0]),
    'no hash tag' => fn () => new Client($nodes[0], keyPrefix: 'celery:'),
    'two prefixes' => fn () => new Client("$nodes[0]?prefix={a}:", keyPrefix: '{b}:'),
    'two prefixes, results' => fn () => new Client($url, backend: "$nodes[0]?prefix={a}:", resultKeyPrefix: '{b}:'),
    'two prefixes in a URL' => fn () => new Client("$nodes[0]?prefix={a}:&prefix={b}:"),
    'a database' => fn () => new Client("$nodes[0]/3?prefix={a}:"),
    'no scheme' => fn () => new Client("$nodes[0];127.0.0.1:$silent", keyPrefix: '{a}:'),
    'two kinds' => fn () => new Client([$nodes[0], redis_url()], keyPrefix: '{a}:'),
    'no cluster' => fn () => (new Client('redis+cluster://127.0.0.1:' . redis_port(), keyPrefix: '{a}:'))->sendTask('proj.add'),
    'no node' => fn () => (new Client("redis+cluster://127.0.0.1:$silent", keyPrefix: '{celery}:'))->sendTask('proj.add'),
];
foreach ($errors as $name => $call) {
    try {
        $call();
        echo "$name: done\n";
    } catch (CeleryException $e) {
        $message = str_replace([...$ports, $silent, redis_port()], ['PORT', 'PORT', 'PORT', 'SILENT', 'SINGLE'], $e->getMessage());
        echo "$name: ", get_class($e), ': ', $message, "\n";
    }
}
// Results on another server have the prefix of the broker, unless they are given one.
$backends = [
    'of the broker' => fn () => new Client($url, backend: redis_url(), queue: $queue),
    'given' => fn () => new Client($url, backend: redis_url(), queue: $queue, resultKeyPrefix: 'r:'),
    'of two arrays' => fn () => Client::fromCelery(new CeleryAdvanced(['host' => $url, 'exchange' => $queue], ['host' => redis_url()])),
];
foreach ($backends as $name => $make) {
    $result = $make()->sendTask('proj.add');
    foreach (['', '{celery}:', 'r:'] as $prefix) {
        redis()->setex("{$prefix}celery-task-meta-{$result->id}", 60, $document($result->id, $prefix));
    }
    echo "$name: ", $result->get(30), "\n";
    $pop();
}
// A result backend with another tag is in another slot.
$other = new Client($url, backend: "$nodes[0]?prefix={other}:", queue: $queue);
var_dump($other->sendTask('proj.add')->state());
$pop();
?>
--EXPECT--
drop-in: proj.add
a list, of which one node is away: proj.add
once: proj.add
pipelined: proj.add
int(5)
int(0)
chord: 2 1
schedule: true
array(0) {
}
int(0)
int(3)
node 0: []
node 1: []
node 2: []
no prefix: CeleryException: The connection cannot be used: a Redis Cluster needs a prefix of all keys that has a hash tag: add ?prefix={celery}: to the URL, or set the key prefix.
no hash tag: Celery\InvalidConfiguration: The broker cannot be used: The connection cannot be used: a Redis Cluster needs a prefix of all keys that has a hash tag: add ?prefix={celery}: to the URL, or set the key prefix.
two prefixes: Celery\InvalidConfiguration: The broker cannot be used: The connection cannot be used: contradicting options: a key prefix beside a URL with another one.
two prefixes, results: Celery\InvalidConfiguration: The result backend cannot be used: The connection cannot be used: contradicting options: a key prefix beside a URL with another one.
two prefixes in a URL: Celery\InvalidConfiguration: The broker cannot be used: contradicting options: two prefixes in one URL of a cluster.
a database: Celery\InvalidConfiguration: The broker cannot be used: the database cannot be used: a Redis Cluster has database 0 only.
no scheme: Celery\InvalidConfiguration: The broker cannot be used: the list of nodes cannot be used: each of them needs its scheme, as in redis+cluster://a:7000;redis+cluster://b:7000.
two kinds: Celery\InvalidConfiguration: A list of URLs is one of Sentinels, of nodes of a Redis Cluster, or of RabbitMQs of one cluster. Name one server.
no cluster: CeleryConnectionException: Cannot reach the broker redis+cluster://127.0.0.1:SINGLE/0?prefix={a}:: no node of the cluster knows where the slot 15495 is: 127.0.0.1:SINGLE: Redis answered: ERR This instance has cluster support disabled. The task was not queued. Check that Redis runs there, and the host and the port.
no node: CeleryConnectionException: Cannot reach the broker redis+cluster://127.0.0.1:SILENT/0?prefix={celery}:: no node of the cluster knows where the slot 3213 is: 127.0.0.1:SILENT: Connection refused (os error 111). The task was not queued. Check that Redis runs there, and the host and the port.
of the broker: {celery}:
given: r:
of two arrays: {celery}:
string(7) "PENDING"
