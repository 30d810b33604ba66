--TEST--
Tasks and results over a unix socket, in every spelling
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$path = getenv('REDIS_SOCKET');
$none = ['host' => null, 'vhost' => null, 'port' => null, 'connector' => null];
foreach (['path', 'path with a port', 'unix', 'redis+unix', 'redis+socket'] as $spelling) {
    $user = fresh('user');
    redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', '~*', '&*', '+@all');
    $changes = match ($spelling) {
        'path' => ['host' => $path, 'login' => $user, 'password' => 'x', 'vhost' => 3],
        'path with a port' => ['host' => $path, 'login' => $user, 'password' => 'x', 'vhost' => '/3', 'port' => 5672, 'connector' => 'redis'],
        'unix', 'redis+unix' => ['host' => "$spelling://$user:x@$path?db=3"],
        'redis+socket' => ['host' => "$spelling://$user:x@$path?virtual_host=3", 'connector' => 'redis'],
    };
    $queue = fresh('queue');
    $result = client($changes + $none + ['exchange' => $queue])->PostTask('proj.add', [2, 3]);
    store($result->getId(), 'SUCCESS', 5, null, 3);
    $value = $result->get(20);
    $connections = array_filter(redis()->client('list'), fn ($client) => $client['user'] === $user);
    // Redis marks clients that came through its socket.
    $others = array_filter($connections, fn ($client) => !str_contains($client['flags'], 'U'));
    echo $spelling, ': ', json_encode([redis(3)->lLen($queue), $value, count($connections), count($others)]), "\n";
    redis()->rawCommand('ACL', 'DELUSER', $user);
}
foreach (['/nowhere/redis.sock', __FILE__, '/' . str_repeat('long', 50)] as $host) {
    show(fn () => client(['host' => $host, 'connector' => null])->PostTask('proj.add', [2, 3]));
}
show(fn () => client(['host' => 'unix://run/redis.sock', 'port' => null])->PostTask('proj.add', [2, 3]));
?>
--EXPECTF--
path: [1,5,1,0]
path with a port: [1,5,1,0]
unix: [1,5,1,0]
redis+unix: [1,5,1,0]
redis+socket: [1,5,1,0]
CeleryConnectionException: Cannot reach the broker redis+socket:///nowhere/redis.sock%S: No such file or directory (os error 2). The task was not queued.%S
CeleryConnectionException: Cannot reach the broker redis+socket://%sunix_socket.php%S: Connection refused (os error 111). The task was not queued.%S
CeleryConnectionException: Cannot reach the broker redis+socket:///longlong%s. The task was not queued.%S
CeleryException: These connection arguments cannot be used: %s: a unix socket needs an absolute path.
