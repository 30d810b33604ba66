--TEST--
celery.breaker_failures: a dead broker is left alone until one call finds it back
--EXTENSIONS--
celery
--INI--
celery.breaker_failures=3
celery.breaker_cooldown=0.3
--SKIPIF--
<?php
require __DIR__ . '/../support.inc';
Proxy::skip();
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
$proxy = new Proxy(redis_port());
$proxy->tell('reset');
$queue = fresh('queue');
$client = client(['port' => $proxy->port, 'exchange' => $queue, 'password' => null]);
$post = function (int $n) use ($client): ?CeleryException {
    try {
        $client->PostTask('proj.add', [$n, 1], false);

        return null;
    } catch (CeleryException $e) {
        return $e;
    }
};

ini_set('celery.breaker_cooldown', '60');
$start = microtime(true);
$classes = array_count_values(array_map(fn (int $n) => get_class($post($n)), range(1, 1000)));
printf("1,000 posts to a dead broker took %.3f s in all\n", microtime(true) - $start);
print_r($classes);
$open = $post(0);
var_dump($open instanceof CeleryConnectionException, $open->retryAfter() > 30 && $open->retryAfter() <= 60);
echo str_replace((string) $proxy->port, 'PORT', $open->getMessage()), "\n";

echo "phpinfo:\n";
ob_start();
phpinfo(INFO_MODULES);
preg_match('/^Circuit.*$/m', ob_get_clean(), $row);
echo str_replace((string) $proxy->port, 'PORT', $row[0]), "\n";

echo "other calls:\n";
foreach ([fn () => $client->PostTasks([['proj.add', [1]]]), fn () => (new AsyncResult('id', arguments(['port' => $proxy->port])))->get(60)] as $call) {
    try {
        $call();
    } catch (Celery\CircuitOpen $e) {
        echo strtok($e->getMessage(), ':'), "\n";
    }
}

echo "after its return:\n";
$before = $proxy->tell('none');
ini_set('celery.breaker_cooldown', '0.3');
$refused = 0;
until('a post that goes through', function () use ($post, &$refused) {
    $error = $post(7);
    $refused += $error instanceof Celery\CircuitOpen ? 1 : 0;

    return $error === null;
});
echo $proxy->tell('none') - $before, " attempt, ", redis()->lLen($queue), " task\n";

echo "off:\n";
$proxy->tell('reset');
$proxy->tell('reset-all');
ini_set('celery.breaker_failures', '0');
print_r(array_count_values(array_map(fn (int $n) => get_class($post($n)), range(1, 4))));
ini_restore('celery.breaker_failures');
?>
--EXPECTF--
1,000 posts to a dead broker took %f s in all
Array
(
    [CeleryConnectionException] => 3
    [Celery\CircuitOpen] => 997
)
bool(true)
bool(true)
Cannot reach the broker redis://127.0.0.1:PORT/0: 3 calls in a row could not connect since %d-%d-%dT%d:%d:%d+00:00 (%s), so it is not asked again for %d.%d s. The task was not queued.
phpinfo:
Circuit of 127.0.0.1:PORT => open for %d.%d s: 3 calls in a row could not connect since %s (%s)
other calls:
Cannot reach the broker redis
Could not wait for the result on redis
after its return:
1 attempt, 1 task
off:
Array
(
    [CeleryConnectionException] => 4
)
