--TEST--
A child forked in the middle of get() posts and waits on connections of its own
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
/** Posts, and waits for the result of the post, which it stores itself before. */
function round_trip(Celery $client, string $who): string
{
    $result = $client->PostTask('proj.echo', [$who]);
    store($result->getId(), 'SUCCESS', $who);

    return $result->get(60);
}
$child = null;
$in_handler = null;
pcntl_async_signals(true);
pcntl_signal(SIGALRM, function () use (&$child, &$in_handler, $client) {
    $child = pcntl_fork();
    if ($child === 0) {
        $in_handler = round_trip($client, 'child, in the handler');
    }
});
$result = $client->PostTask('proj.echo', ['parent, before']);
$heard = fresh('heard');
signal_in_wait($result->getId());
$helper = pcntl_fork();
if ($helper === 0) {
    // The parent has its result only after the child has used its own connection.
    redis()->blPop([$heard], 20);
    store($result->getId(), 'SUCCESS', 'parent');
    posix_kill(posix_getpid(), SIGKILL);
}
$thrown = 'nothing';
try {
    $value = $result->get(60);
} catch (CeleryException $e) {
    $thrown = preg_replace('/ on redis:\S+ /', ': ', $e->getMessage());
}
if ($child === 0) {
    echo $in_handler, "\n", $thrown, "\n", round_trip($client, 'child, after get()'), "\n";
    redis()->rPush($heard, 'the child has posted');
    exit(0);
}
pcntl_waitpid($child, $status);
pcntl_waitpid($helper, $status);
var_dump($thrown, $value, round_trip($client, 'parent, after get()'));
for ($posted = []; $message = message($queue); ) {
    $posted[] = body($message)[0][0];
}
echo implode("\n", $posted), "\n";
?>
--EXPECT--
child, in the handler
Could not wait for the result: the process was forked in the middle of the call.
child, after get()
string(7) "nothing"
string(6) "parent"
string(19) "parent, after get()"
parent, before
child, in the handler
child, after get()
parent, after get()
