--TEST--
A host that drops all packets cannot block a call: connecting has a deadline
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
// A full backlog of connections: the kernel silently drops every further attempt.
$server = stream_socket_server('tcp://127.0.0.1:0', $code, $text, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, stream_context_create(['socket' => ['backlog' => 0]]));
$name = stream_socket_get_name($server, false);
$full = [];
do {
    $full[] = $last = stream_socket_client("tcp://$name", $code, $text, 5, STREAM_CLIENT_CONNECT | STREAM_CLIENT_ASYNC_CONNECT);
    [$read, $write, $except] = [[], [$last], []];
} while (stream_select($read, $write, $except, 0, 200000) && count($full) < 20);
$port = (int) substr($name, strrpos($name, ':') + 1);
ini_set('celery.connect_timeout', '0.3');
ini_set('celery.post_timeout', '0.6');
ini_set('celery.command_timeout', '0.6');
$class = function (callable $call) {
    try {
        $call();
    } catch (CeleryException $e) {
        return get_class($e);
    }
};
within(0.6, fn () => $class(fn () => client(['port' => $port])->PostTask('proj.add', [2, 3])));
within(0.6, fn () => $class(fn () => client(['port' => $port])->PostTasks([['proj.add', [2]], ['proj.add', [3]]])));
within(0.6, fn () => $class(fn () => (new AsyncResult('id', arguments(['port' => $port])))->isReady()));
within(0.6, fn () => $class(fn () => (new AsyncResult('id', arguments(['port' => $port])))->get(0.6)));
?>
--EXPECT--
string(25) "CeleryConnectionException"
in time
string(25) "CeleryConnectionException"
in time
string(25) "CeleryConnectionException"
in time
string(25) "CeleryConnectionException"
in time
