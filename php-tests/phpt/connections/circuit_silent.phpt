--TEST--
A broker that does not answer costs Celery\Client one connect timeout, and the post after its return goes through
--EXTENSIONS--
celery
--INI--
celery.connect_timeout=0.3
celery.breaker_cooldown=60
--SKIPIF--
<?php
require __DIR__ . '/../support.inc';
Proxy::skip();
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
$proxy = new Proxy(redis_port());
$before = $proxy->tell('silence');
$queue = fresh('queue');
$client = new Celery\Client("redis://127.0.0.1:$proxy->port", queue: $queue);
$post = function () use ($client): string {
    try {
        $client->sendTask('proj.add', [2, 3]);

        return 'posted';
    } catch (CeleryException $e) {
        return get_class($e);
    }
};
$circuit = function () use ($proxy): void {
    ob_start();
    phpinfo(INFO_MODULES);
    preg_match('/^Circuits? .*$/m', ob_get_clean(), $row);
    echo str_replace((string) $proxy->port, 'PORT', $row[0]), "\n";
};
// The first post waits, and its retry finds the circuit open.
print_r(array_count_values(array_map($post, range(1, 1000))));
$circuit();
echo $proxy->tell('none') - $before, " attempt\n";
ini_set('celery.breaker_cooldown', '0.001');
// On a slow machine, the cooldown may not be over yet.
until('a post that goes through', fn () => $post() === 'posted');
echo redis()->lLen($queue), " task\n";
$circuit();
?>
--EXPECTF--
Array
(
    [Celery\CircuitOpen] => 1000
)
Circuit of 127.0.0.1:PORT => open for %d.%d s: 1 call could not connect since %s (%s took longer than %s)
1 attempt
1 task
Circuits => all closed
