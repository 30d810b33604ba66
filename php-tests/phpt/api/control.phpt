--TEST--
Celery\Control and Celery\Inspect: requests as Celery's, arguments that are refused, no worker
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
// A database of its own, so that no other test hears the commands.
$client = new Celery\Client(redis_url() . '11');
$control = $client->control();

/** Returns the body of the command that a call publishes. */
function heard(callable $call): string
{
    [$near, $far] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    $child = pcntl_fork();
    if ($child === 0) {
        $redis = redis(11);
        $redis->setOption(Redis::OPT_READ_TIMEOUT, 20);
        $redis->subscribe(['/11.celery.pidbox'], function ($redis, $channel, $message) use ($far) {
            fwrite($far, base64_decode(json_decode($message)->body) . "\n");
            posix_kill(getmypid(), SIGKILL);
        });
    }
    until('a listener', fn () => redis()->pubsub('NUMSUB', ['/11.celery.pidbox'])['/11.celery.pidbox'] === 1);
    $call();
    pcntl_waitpid($child, $status);
    $body = json_decode(fgets($near));

    return $body->method . ' ' . json_encode($body->arguments) . ' ' . json_encode($body->destination);
}

foreach ([
    fn () => $control->revoke('a'),
    fn () => $control->revoke(['a', $client->result('b')], true, 'SIGKILL', 'celery@web1'),
    fn () => $control->terminate(['a'], destination: ['celery@web1', 'celery@web2']),
    fn () => $control->revokeByStampedHeaders(['tenant' => 'acme']),
    fn () => $control->rateLimit('proj.add', '10/m'),
    fn () => $control->rateLimit('proj.add', 2.5),
    fn () => $control->timeLimit('proj.add', 1.5, new DateInterval('PT2M')),
    fn () => $control->addConsumer('q', routingKey: 'k', options: ['durable' => true]),
    fn () => $control->cancelConsumer('q'),
    fn () => $control->poolGrow(),
    fn () => $control->poolShrink(2),
    fn () => $control->autoscale(8, 2),
    fn () => $control->poolRestart(['proj'], true),
    fn () => $control->enableEvents(),
    fn () => $control->disableEvents(),
    fn () => $control->heartbeat(),
    fn () => $control->shutdown('celery@web1'),
    fn () => $control->broadcast('mine', ['at' => [1.0, null]]),
    fn () => $control->inspect(timeout: 0.05)->registered('rate_limit'),
    fn () => $control->inspect(timeout: 0.05)->queryTask('a', $client->result('b')),
    fn () => $control->inspect('celery@web1', 0.05)->conf(true),
] as $call) {
    echo heard($call), "\n";
}

echo "refused:\n";
foreach ([
    fn () => $control->revoke(''),
    fn () => $control->revoke([1.5]),
    fn () => $control->ping([]),
    fn () => $control->ping(['a' => 'celery@web1']),
    fn () => $control->ping(timeout: -1.0),
    fn () => $control->ping(timeout: INF),
    fn () => $control->ping(limit: 0),
    fn () => $control->poolGrow(0),
    fn () => $control->autoscale(1, 2),
    fn () => $control->rateLimit('a', NAN),
    fn () => $control->broadcast(''),
    fn () => $control->broadcast('x', [1]),
    fn () => $control->broadcast('x', ['a' => fopen('php://memory', 'r')]),
    fn () => $control->poolRestart(['a' => 'b']),
    fn () => $client->events([]),
    fn () => $client->events('[z-a]'),
    fn () => serialize($control),
    fn () => new Celery\Inspect(),
    fn () => clone $client->events(),
] as $call) {
    show($call);
}

echo "no worker:\n";
var_dump($control->ping(timeout: 60), $control->inspect(timeout: 60)->stats(), $control->revoke('a', reply: true, timeout: 60));
show(fn () => (new Celery\Client('redis://127.0.0.1:' . closed_port()))->control()->ping());
?>
--EXPECTF--
revoke {"signal":"SIGTERM","task_id":"a","terminate":false} null
revoke {"signal":"SIGKILL","task_id":["a","b"],"terminate":true} ["celery@web1"]
revoke {"signal":"SIGTERM","task_id":"a","terminate":true} ["celery@web1","celery@web2"]
revoke_by_stamped_headers {"headers":{"tenant":"acme"},"signal":"SIGTERM","terminate":false} null
rate_limit {"rate_limit":"10\/m","task_name":"proj.add"} null
rate_limit {"rate_limit":2.5,"task_name":"proj.add"} null
time_limit {"hard":120,"soft":1.5,"task_name":"proj.add"} null
add_consumer {"durable":true,"exchange":null,"exchange_type":"direct","queue":"q","routing_key":"k"} null
cancel_consumer {"queue":"q"} null
pool_grow {"n":1} null
pool_shrink {"n":2} null
autoscale {"max":8,"min":2} null
pool_restart {"modules":["proj"],"reload":true,"reloader":null} null
enable_events {} null
disable_events {} null
heartbeat {} null
shutdown {} ["celery@web1"]
mine {"at":[1,null]} null
registered {"taskinfoitems":["rate_limit"]} null
query_task {"ids":["a","b"]} null
conf {"with_defaults":true} ["celery@web1"]
refused:
ValueError: Celery\Control::revoke(): Argument #1 ($task) must be the id of a task
ValueError: Celery\Control::revoke(): Argument #1 ($task) must hold ids or results of tasks
ValueError: Celery\Control::ping(): Argument #1 ($destination) must be the name of a node, or a list of names; null addresses all nodes
ValueError: Celery\Control::ping(): Argument #1 ($destination) must be the name of a node, or a list of names; null addresses all nodes
ValueError: Celery\Control::ping(): Argument #2 ($timeout) must be greater than or equal to 0
ValueError: Celery\Control::ping(): Argument #2 ($timeout) must be finite
ValueError: Celery\Control::ping(): Argument #3 ($limit) must be greater than 0
ValueError: Celery\Control::poolGrow(): Argument #1 ($n) must be greater than 0
ValueError: Celery\Control::autoscale(): Argument #1 ($max) must not be less than $min, which must not be negative
ValueError: Celery\Control::rateLimit(): Argument #2 ($rateLimit) must be finite
ValueError: Celery\Control::broadcast(): Argument #1 ($command) must not be empty
ValueError: Celery\Control::broadcast(): Argument #2 ($arguments) must have names as keys
Celery\Unencodable: The task was not sent: arguments.a is a resource.
ValueError: Celery\Control::poolRestart(): Argument #1 ($modules) must be a list of names
ValueError: Celery\Client::events(): Argument #1 ($types) must be a pattern of types of events, or a list of them
ValueError: Celery\Client::events(): Argument #1 ($types) "[z-a]" is not a pattern: a range in it ends before its start
Exception: Serialization of 'Celery\Control' is not allowed
Error: Call to private Celery\Inspect::__construct() from global scope
Error: Trying to clone an uncloneable object of class Celery\Events
no worker:
array(0) {
}
array(0) {
}
array(0) {
}
CeleryConnectionException: Could not send the command ping to the workers on redis://127.0.0.1:%d/0: Connection refused (os error 111). Check that Redis runs there, and the host and the port.
