--TEST--
A forked child writes no byte to its parent's connection, neither by posting nor by ending
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
[$socket, $port] = silent_server();
$log = tempnam(sys_get_temp_dir(), 'log');
$server = pcntl_fork();
if ($server === 0) {
    // A minimal Redis for posting; it notes what each connection sent, until all are closed.
    $streams = $seen = [];
    do {
        [$read, $write, $except] = [[$socket, ...$streams], null, null];
        stream_select($read, $write, $except, 20);
        foreach ($read as $stream) {
            if ($stream === $socket) {
                $streams[] = $new = stream_socket_accept($socket);
                $seen[(int) $new] = '';
            } elseif (($bytes = fread($stream, 65536)) === '') {
                unset($streams[array_search($stream, $streams, true)]);
            } else {
                $seen[(int) $stream] .= $bytes;
                fwrite($stream, str_repeat("*0\r\n", substr_count($bytes, "\nHELLO")) . str_repeat(":1\r\n", preg_match_all('/\n(SADD|LPUSH)/', $bytes)));
            }
        }
    } while ($streams);
    file_put_contents($log, json_encode(array_map(fn ($text) => preg_match_all('/LPUSH\r\n\$\d+\r\n(\S+)/', $text, $found) ? $found[1] : [], array_values($seen))));
    exit(0);
}
fclose($socket);
$post = function (string $when) use ($port) {
    foreach (['confirmed', 'pipelined'] as $mode) {
        ini_set('celery.publish', $mode);
        client(['port' => $port])->PostTask('proj.echo', [], false, "$mode-$when");
    }
};
$parent = pcntl_fork();
if ($parent === 0) {
    $post('before');
    $child = pcntl_fork();
    if ($child === 0) {
        $post('child');
        exit(0);
    }
    pcntl_waitpid($child, $status);
    $post('after');
    exit(0);
}
pcntl_waitpid($parent, $status);
pcntl_waitpid($server, $status);
foreach (json_decode(file_get_contents($log)) as $connection) {
    echo implode(', ', $connection), "\n";
}
unlink($log);
?>
--EXPECT--
confirmed-before, pipelined-before, pipelined-after
confirmed-child, pipelined-child
confirmed-after
