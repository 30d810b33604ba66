--TEST--
A signal handler that throws ends the wait with its own exception, and the client still works
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
pcntl_async_signals(true);
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$result = $client->PostTask('proj.add', [2, 3]);
pcntl_signal(SIGALRM, fn () => throw new RuntimeException('enough'));
signal_in_wait($result->getId());
show(fn () => $result->get(60));
store($result->getId(), 'SUCCESS', 5);
var_dump($result->get(60), $client->PostTask('proj.add', [2, 3], false), redis()->lLen($queue));
?>
--EXPECT--
RuntimeException: enough
int(5)
bool(true)
int(2)
