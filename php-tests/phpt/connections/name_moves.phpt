--TEST--
A name that has another address after a failover is resolved again
--EXTENSIONS--
celery
pcntl
--SKIPIF--
<?php
exec('unshare --mount true 2>/dev/null', $output, $code);
if ($code !== 0) {
    die('skip needs a mount namespace of its own (root)');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
// The script has its own /etc/hosts. First the name leads to a server that has become a replica, or
// is gone. After that server's refusal or end, the name leads to the Redis of the tests.
$script = <<<'PHP'
    require getenv('SUPPORT');
    $hosts = getenv('HOSTS');
    foreach (['readonly.example' => "-READONLY You can't write against a read only replica.", 'gone.example' => null] as $name => $answer) {
        file_put_contents($hosts, "127.0.0.2 $name\n");
        $server = stream_socket_server('tcp://127.0.0.2:' . redis_port());
        $child = pcntl_fork();
        if ($child === 0) {
            $stream = stream_socket_accept($server, 20);
            while (($read = fread($stream, 8192)) !== false && $read !== '') {
                if (str_contains($read, 'LPUSH')) {
                    file_put_contents($hosts, "127.0.0.1 $name\n");
                    fwrite($stream, str_repeat("$answer\r\n", 3));
                } elseif ($answer !== null) {
                    fwrite($stream, "+PONG\r\n");
                } else {
                    file_put_contents($hosts, "127.0.0.1 $name\n");
                    break;
                }
            }
            posix_kill(posix_getpid(), SIGKILL);
        }
        fclose($server);
        $queue = fresh('queue');
        $client = new Celery($name, null, null, 0, $queue, 'celery', redis_port(), 'redis');
        show(fn () => $client->PostTask('proj.add', [2, 3], false));
        var_dump(redis()->lLen($queue));
        posix_kill($child, SIGKILL);
        pcntl_waitpid($child, $status);
    }
    PHP;
$shell = 'mount --bind "$HOSTS" /etc/hosts && exec "$PHP" -d "extension=$SO" -r "$SCRIPT"';
$hosts = tempnam(sys_get_temp_dir(), 'hosts');
$maps = file_get_contents('/proc/self/maps');
preg_match('#\S*libcelery\.so#', $maps, $so);
$process = proc_open(['unshare', '--mount', 'sh', '-c', $shell], [1 => STDOUT, 2 => STDOUT], $pipes, null, [
    'HOSTS' => $hosts, 'PHP' => PHP_BINARY, 'SO' => $so[0] ?? 'celery', 'SCRIPT' => $script,
    'SUPPORT' => __DIR__ . '/../support.inc', 'REDIS_URL' => redis_url(),
] + getenv());
proc_close($process);
unlink($hosts);
?>
--EXPECT--
bool(true)
int(1)
bool(true)
int(1)
