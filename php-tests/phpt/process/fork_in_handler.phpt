--TEST--
A child forked in the middle of a wait does not use its parent's connections
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
$child = null;
pcntl_async_signals(true);
pcntl_signal(SIGALRM, function () use (&$child) {
    $child = pcntl_fork();
});
$result = new AsyncResult(fresh('id'), arguments());
$heard = fresh('heard');
signal_in_wait($result->getId());
$thrown = 'nothing';
try {
    $helper = pcntl_fork();
    if ($helper === 0) {
        redis()->blPop([$heard], 20);
        store($result->getId(), 'SUCCESS', 5);
        posix_kill(posix_getpid(), SIGKILL);
    }
    $value = $result->get(60);
} catch (CeleryException $e) {
    $thrown = get_class($e) . ': ' . preg_replace('/ on redis:\S+ /', ': ', $e->getMessage());
}
if ($child === 0) {
    redis()->rPush($heard, 'the child has left get()');
    echo $thrown, "\n";
    exit(0);
}
pcntl_waitpid($child, $status);
pcntl_waitpid($helper, $status);
var_dump($thrown, $value);
?>
--EXPECT--
CeleryException: Could not wait for the result: the process was forked in the middle of the call.
string(7) "nothing"
int(5)
