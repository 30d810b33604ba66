--TEST--
celery.spin: with it and without, posts arrive once, a fork has a connection of its own, and signals are served
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach (['1', '0', 'On', ''] as $spin) {
    ini_set('celery.spin', $spin);
    $queue = fresh('queue');
    $client = client(['exchange' => $queue]);
    // Enough answers for the connection to learn that its server is near.
    for ($i = 0; $i < 200; ++$i) {
        $client->PostTask('proj.add', [$i], false);
    }
    if (($child = pcntl_fork()) === 0) {
        for ($i = 0; $i < 50; ++$i) {
            $client->PostTask('proj.add', ['child'], false);
        }
        exit(0);
    }
    for ($i = 0; $i < 50; ++$i) {
        $client->PostTask('proj.add', ['parent'], false);
    }
    pcntl_waitpid($child, $status);
    $arguments = array_map(
        fn (string $raw) => json_decode(base64_decode(json_decode($raw, true)['body']), true)[0][0],
        redis()->lRange($queue, 0, -1),
    );
    $counts = array_count_values(array_map(strval(...), $arguments));
    var_dump([pcntl_wexitstatus($status), count($arguments), $counts['parent'], $counts['child']] === [0, 300, 50, 50]);
    redis()->del($queue);
}

pcntl_async_signals(true);
ini_set('celery.spin', '1');
$signals = 0;
pcntl_signal(SIGUSR1, function () use (&$signals) { ++$signals; });
if (($child = pcntl_fork()) === 0) {
    for ($i = 0; $i < 20; ++$i) {
        posix_kill(posix_getppid(), SIGUSR1);
        usleep(2000);
    }
    exit(0);
}
$posts = 0;
while (pcntl_waitpid($child, $status, WNOHANG) === 0 || $posts < 300) {
    $client->PostTask('proj.add', [1], false);
    ++$posts;
}
var_dump($signals > 0, redis()->lLen($queue) === $posts);
redis()->del($queue);
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
