--TEST--
A post whose answer was lost reports an unknown outcome and names the task
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
// A server that answers everything except the push, and then hangs up.
$socket = stream_socket_server('tcp://127.0.0.1:0');
$name = stream_socket_get_name($socket, false);
$port = (int) substr($name, strrpos($name, ':') + 1);
$child = pcntl_fork();
if ($child === 0) {
    $connection = stream_socket_accept($socket, 10);
    $seen = '';
    while (($read = fread($connection, 8192)) !== false && $read !== '') {
        $seen .= $read;
        if (stripos($seen, 'LPUSH') !== false) {
            break;
        }
        fwrite($connection, "+OK\r\n");
    }
    fclose($connection);
    posix_kill(getmypid(), SIGKILL);
}
fclose($socket);
ini_set('celery.post_timeout', '2');
try {
    client(['port' => $port])->PostTask('proj.add', [2, 3], true, 'celery', ['id' => 'my-id']);
    echo "posted?\n";
} catch (CeleryPublishException $e) {
    var_dump($e->outcomeUnknown(), $e->taskId(), str_contains($e->getMessage(), 'my-id'));
}
pcntl_waitpid($child, $status);
?>
--EXPECT--
bool(true)
string(5) "my-id"
bool(true)
