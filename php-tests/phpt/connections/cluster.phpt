--TEST--
The first call to a node of a Redis Cluster or to a Sentinel throws an exception that names the cause, in every way of posting
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
/**
 * Starts a server of this kind and waits until it is ready: its process, its port and its folder.
 */
function server(string $name, array $options): array
{
    $port = closed_port();
    $folder = sys_get_temp_dir() . '/' . fresh($name);
    mkdir($folder);
    file_put_contents("$folder/server.conf", "port $port\nbind 127.0.0.1\ndir $folder\n");
    $nowhere = [['file', '/dev/null', 'r'], ['file', '/dev/null', 'w'], ['file', '/dev/null', 'w']];
    $process = proc_open(['redis-server', "$folder/server.conf", ...$options], $nowhere, $pipes);
    until("$name on $port", fn () => @fsockopen('127.0.0.1', $port) !== false);

    return [$process, $port, $folder];
}
$servers = [
    'Cluster' => server('cluster', ['--cluster-enabled', 'yes', '--save', '']),
    'Sentinel' => server('sentinel', ['--sentinel']),
];
foreach ($servers as $kind => [$process, $port, $folder]) {
    $calls = [];
    foreach (['confirmed', 'once', 'pipelined'] as $mode) {
        $calls[$mode] = function () use ($port, $mode) {
            ini_set('celery.publish', $mode);
            client(['port' => $port])->PostTask('proj.echo', [1]);
        };
    }
    $calls['many'] = fn () => client(['port' => $port])->PostTasks([['proj.echo', [1]], ['proj.echo', [2]]]);
    $calls['get'] = fn () => (new AsyncResult('abc', arguments(['port' => $port])))->get(5);
    $calls['url'] = fn () => (new Celery("redis://127.0.0.1:$port/0", null, null, null))->PostTask('proj.echo', []);
    $calls['other database'] = fn () => (new Celery("redis://127.0.0.1:$port/1"))->PostTask('proj.echo', []);
    foreach ($calls as $name => $call) {
        try {
            $call();
            echo "$kind, $name: done\n";
        } catch (CeleryException $e) {
            $named = str_contains($e->getMessage(), "Redis $kind, which ");
            echo "$kind, $name: ", get_class($e), $named ? '' : ' ' . $e->getMessage(), "\n";
        }
    }
    proc_terminate($process, SIGKILL);
    proc_close($process);
    array_map(unlink(...), glob("$folder/*") ?: []);
    @rmdir($folder);
}
?>
--EXPECT--
Cluster, confirmed: CeleryConnectionException
Cluster, once: CeleryConnectionException
Cluster, pipelined: CeleryConnectionException
Cluster, many: CeleryConnectionException
Cluster, get: CeleryConnectionException
Cluster, url: CeleryConnectionException
Cluster, other database: CeleryConnectionException
Sentinel, confirmed: CeleryConnectionException
Sentinel, once: CeleryConnectionException
Sentinel, pipelined: CeleryConnectionException
Sentinel, many: CeleryConnectionException
Sentinel, get: CeleryConnectionException
Sentinel, url: CeleryConnectionException
Sentinel, other database: CeleryConnectionException
