--TEST--
A connection that the server closed is replaced without the caller noticing
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/support.inc';
$user = fresh('user');
redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', '~*', '&*', '+@all');
$queue = fresh('queue');
$client = client(['login' => $user, 'password' => 'x', 'exchange' => $queue]);
for ($i = 0; $i < 5; ++$i) {
    var_dump($client->PostTask('proj.add', [$i], false));
    redis()->rawCommand('CLIENT', 'KILL', 'USER', $user);
}
var_dump(redis()->lLen($queue));
redis()->rawCommand('ACL', 'DELUSER', $user);
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
int(5)
