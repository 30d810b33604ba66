--TEST--
A forked child knows that its parent could not reach the broker, and each finds it back by itself
--EXTENSIONS--
celery
pcntl
--INI--
celery.breaker_failures=2
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
$proxy->tell('reset');
$queue = fresh('queue');
$client = client(['port' => $proxy->port, 'exchange' => $queue]);
$post = function () use ($client): string {
    try {
        return $client->PostTask('proj.add', [1, 1], false) ? 'posted' : 'odd';
    } catch (CeleryException $e) {
        return get_class($e);
    }
};
echo implode(' ', [$post(), $post(), $post()]), "\n";
$proxy->tell('none');
$child = pcntl_fork();
if ($child === 0) {
    echo 'child: ', $post(), "\n";
    ini_set('celery.breaker_cooldown', '0.001');
    until('a post of the child', fn () => $post() === 'posted');
    posix_kill(getmypid(), SIGKILL);
}
pcntl_waitpid($child, $status);
echo 'parent: ', $post(), "\n";
ini_set('celery.breaker_cooldown', '0.001');
until('a post of the parent', fn () => $post() === 'posted');
echo redis()->lLen($queue), " tasks\n";
?>
--EXPECT--
CeleryConnectionException CeleryConnectionException Celery\CircuitOpen
child: Celery\CircuitOpen
parent: Celery\CircuitOpen
2 tasks
