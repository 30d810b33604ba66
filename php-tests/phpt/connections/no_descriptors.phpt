--TEST--
Without a free file descriptor a call throws an exception that says so; the next call works once one is free
--EXTENSIONS--
celery
posix
--INI--
celery.post_timeout=5
celery.command_timeout=5
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$result = new AsyncResult(fresh('id'), arguments());
store($result->getId(), 'SUCCESS', 5);
$redis = redis();
posix_setrlimit(POSIX_RLIMIT_NOFILE, 64, (int) posix_getrlimit()['hard openfiles']);
$open = [];
while ($file = @fopen('/dev/null', 'r')) {
    $open[] = $file;
}
echo "none left:\n";
show(fn () => $client->PostTask('proj.add', [2, 3], false));
show(fn () => $client->PostTasks([['proj.add', [2, 3]]], false));
show(fn () => client(['host' => 'localhost', 'exchange' => $queue])->PostTask('proj.add', [2, 3], false));
show(fn () => $result->isReady());
show(fn () => $result->get(2));
// One is enough to post and to wait for a result.
array_pop($open);
echo "one left:\n";
show(fn () => $client->PostTask('proj.add', [2, 3], false));
show(fn () => $result->get(20));
$open = [];
show(fn () => client(['host' => 'localhost', 'exchange' => $queue])->PostTask('proj.add', [2, 3], false));
var_dump($redis->lLen($queue));
?>
--EXPECTF--
none left:
CeleryConnectionException: Cannot reach the broker redis://127.0.0.1:%d/0: Too many open files (os error 24). The task was not queued.%S
CeleryConnectionException: Cannot reach the broker redis://127.0.0.1:%d/0: Too many open files (os error 24). No task was queued.%S
CeleryConnectionException: Cannot reach the broker redis://localhost:%d/0: Too many open files (os error 24). The task was not queued.%S
CeleryConnectionException: Could not read the result on redis://127.0.0.1:%d/0: Too many open files (os error 24).%S
CeleryConnectionException: Could not wait for the result on redis://127.0.0.1:%d/0: Too many open files (os error 24).%S
one left:
bool(true)
int(5)
bool(true)
int(2)
