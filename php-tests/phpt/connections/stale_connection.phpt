--TEST--
A connection that the server closed is replaced, and the caller notices nothing
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$user = fresh('user');
redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', '~*', '&*', '+@all');
$known = fresh('id');
$details = ['login' => $user, 'password' => 'x'];
foreach (['confirmed', 'once', 'pipelined'] as $mode) {
    ini_set('celery.publish', $mode);
    $queue = fresh('queue');
    $client = client(['exchange' => $queue] + $details);
    for ($i = 1; $i <= 6; ++$i) {
        // Every other time it also waits for a result. Unread answers of that wait must not hide
        // the end of the connection.
        if ($i % 2 === 0) {
            store($known, 'SUCCESS', 5);
            (new AsyncResult($known, arguments($details)))->get(20);
        }
        $client->PostTask('proj.add', [$i], false);
        until('the post', fn () => redis()->lLen($queue) === $i);
        redis()->rawCommand('CLIENT', 'KILL', 'USER', $user);
        // Posts less than a millisecond apart count as a loop, in which the connection is not
        // checked.
        usleep(2000);
    }
    $client->flush();
    echo $mode, ': ', redis()->lLen($queue), "\n";
}
redis()->rawCommand('ACL', 'DELUSER', $user);
?>
--EXPECT--
confirmed: 6
once: 6
pipelined: 6
