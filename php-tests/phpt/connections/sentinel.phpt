--TEST--
A Sentinel says where the broker is; an error has its words, or names what the URL lacks
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
use Celery\Client;

ini_set('celery.breaker_failures', '0');
$port = closed_port();
$silent = closed_port();
$folder = sys_get_temp_dir() . '/' . fresh('sentinel');
mkdir($folder);
$redis = redis_port();
file_put_contents("$folder/sentinel.conf", <<<CONF
    port $port
    bind 127.0.0.1
    dir $folder
    requirepass hunter2
    sentinel monitor tasks 127.0.0.1 $redis 1
    sentinel down-after-milliseconds tasks 600000
    CONF);
$nowhere = [['file', '/dev/null', 'r'], ['file', '/dev/null', 'w'], ['file', '/dev/null', 'w']];
$process = proc_open(['redis-server', "$folder/sentinel.conf", '--sentinel'], $nowhere, $pipes);
until("Sentinel on $port", fn () => @fsockopen('127.0.0.1', $port) !== false);

$queue = fresh();
$login = 'sentinel_password=hunter2';
$calls = [
    'drop-in' => fn () => (new Celery("sentinel://127.0.0.1:$port/0?master_name=tasks&$login", null, null, null, $queue))->PostTask('proj.add', [1, 2]),
    'the second Sentinel' => fn () => (new Client("sentinel://127.0.0.1:$silent;sentinel://127.0.0.1:$port/0?master_name=tasks&$login", queue: $queue))->sendTask('proj.add'),
    'list and arguments' => fn () => (new Client(["sentinel://127.0.0.1:$silent", "sentinel://127.0.0.1:$port"], queue: $queue, masterName: 'tasks', sentinelPassword: 'hunter2'))->sendTask('proj.add'),
];
foreach ($calls as $name => $call) {
    $call();
    echo "$name: ", message($queue)['headers']['task'], "\n";
}
$errors = [
    'no name' => fn () => new Celery("sentinel://127.0.0.1:$port"),
    'no name, client' => fn () => new Client("sentinel://127.0.0.1:$port"),
    'another name' => fn () => (new Client("sentinel://127.0.0.1:$port?master_name=other&$login"))->sendTask('proj.add'),
    'no login' => fn () => (new Client("sentinel://127.0.0.1:$port?master_name=tasks"))->sendTask('proj.add'),
    'no Sentinel' => fn () => (new Client("sentinel://127.0.0.1:$silent?master_name=tasks&$login"))->sendTask('proj.add'),
    'no scheme' => fn () => new Client("sentinel://127.0.0.1:$port;127.0.0.1:$silent", masterName: 'tasks'),
    'no Sentinels' => fn () => new Client(redis_url(), masterName: 'tasks'),
    'two kinds' => fn () => new Client(["sentinel://127.0.0.1:$port", redis_url()], masterName: 'tasks'),
];
foreach ($errors as $name => $call) {
    try {
        $call();
        echo "$name: done\n";
    } catch (CeleryException $e) {
        echo "$name: ", get_class($e), ': ', str_replace([$port, $silent], ['PORT', 'SILENT'], $e->getMessage()), "\n";
    }
}
proc_terminate($process, SIGKILL);
proc_close($process);
array_map(unlink(...), glob("$folder/*") ?: []);
rmdir($folder);
?>
--EXPECT--
drop-in: proj.add
the second Sentinel: proj.add
list and arguments: proj.add
no name: CeleryException: The connection cannot be used: a URL of Sentinels needs the name of their master: add ?master_name=NAME, or set master_name.
no name, client: Celery\InvalidConfiguration: The broker cannot be used: The connection cannot be used: a URL of Sentinels needs the name of their master: add ?master_name=NAME, or set master_name.
another name: CeleryConnectionException: Cannot reach the broker sentinel://127.0.0.1:PORT/0?master_name=other: no Sentinel knows where the master `other` is: 127.0.0.1:PORT: it watches no master of this name. The task was not queued. Check that Redis runs there, and the host and the port.
no login: CeleryConnectionException: Cannot reach the broker sentinel://127.0.0.1:PORT/0?master_name=tasks: it refused the credentials (NOAUTH Authentication required, says 127.0.0.1:PORT). The task was not queued. Check the login and the password; in a URL they must be percent-encoded.
no Sentinel: CeleryConnectionException: Cannot reach the broker sentinel://127.0.0.1:SILENT/0?master_name=tasks: no Sentinel knows where the master `tasks` is: 127.0.0.1:SILENT: Connection refused (os error 111). The task was not queued. Check that Redis runs there, and the host and the port.
no scheme: Celery\InvalidConfiguration: The broker cannot be used: the list of Sentinels cannot be used: each of them needs its scheme, as in sentinel://a:26379;sentinel://b:26379.
no Sentinels: Celery\InvalidConfiguration: $masterName, $sentinelUser and $sentinelPassword need a URL sentinel://…
two kinds: Celery\InvalidConfiguration: A list of URLs is one of Sentinels, of nodes of a Redis Cluster, or of RabbitMQs of one cluster. Name one server.
