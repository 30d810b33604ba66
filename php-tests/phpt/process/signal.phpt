--TEST--
A signal handler runs while get() waits, may post a task, and the wait continues
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
pcntl_async_signals(true);
$client = client(['exchange' => fresh('queue')]);
$result = $client->PostTask('proj.add', [2, 3]);
pcntl_signal(SIGALRM, function () use ($client, $result) {
    echo "signal\n";
    $client->PostTask('proj.echo', ['from the handler'], false);
    store($result->getId(), 'SUCCESS', 5);
});
signal_in_wait($result->getId());
var_dump($result->get(30));
?>
--EXPECT--
signal
int(5)
