--TEST--
An answer larger than its command permits ends the connection before it takes memory
--EXTENSIONS--
celery
pcntl
--INI--
memory_limit=512M
--FILE--
<?php
require __DIR__ . '/../support.inc';
/**
 * Starts a server that accepts clients and floods a client that sends a command: [its process id,
 * its port].
 */
function flooding_server(string $command, string $begin, string $rest): array
{
    [$socket, $port] = silent_server();
    $child = pcntl_fork();
    if ($child !== 0) {
        fclose($socket);

        return [$child, $port];
    }
    while ($stream = @stream_socket_accept($socket, 20)) {
        for ($seen = ''; ($read = fread($stream, 8192)) !== '' && $read !== false;) {
            $seen .= $read;
            if (str_contains($seen, $command)) {
                $chunk = $begin . str_repeat($rest, intdiv(1 << 20, strlen($rest)));
                for ($left = 80; $left > 0 && @fwrite($stream, $chunk) === strlen($chunk); --$left) {
                    $chunk = str_repeat($rest, intdiv(1 << 20, strlen($rest)));
                }
                break;
            }
            if (str_contains($seen, 'HELLO')) {
                fwrite($stream, "+PONG\r\n");
                $seen = '';
            }
        }
        fclose($stream);
    }
    exit(0);
}
/** Returns the most memory that this process has used, in megabytes. */
function peak(): int
{
    preg_match('/^VmHWM:\s+(\d+) kB/m', file_get_contents('/proc/self/status'), $found);

    return intdiv((int) $found[1], 1024);
}
$calls = [
    'LPUSH' => fn (Celery $client) => $client->PostTask('t', [1]),
    'GET' => fn (Celery $client) => $client->getAsyncResultMessage('t', 'x'),
    'DEL' => fn (Celery $client) => (new AsyncResult('x', $GLOBALS['arguments']))->forget(),
    'PUBLISH' => fn (Celery $client) => (new AsyncResult('x', $GLOBALS['arguments']))->revoke(),
    'SUBSCRIBE' => fn (Celery $client) => (new AsyncResult('x', $GLOBALS['arguments']))->get(5),
];
foreach ($calls as $command => $call) {
    foreach ([["*20000000\r\n", ":1\r\n"], ["*1\r\n*20000000\r\n", ":1\r\n"], ["+", str_repeat('x', 64)], ["%9000000\r\n", "+a\r\n:1\r\n"]] as $flood) {
        [$server, $port] = flooding_server($command, ...$flood);
        $child = pcntl_fork();
        if ($child === 0) {
            $arguments = arguments(['port' => $port]);
            $before = peak();
            try {
                $call(client(['port' => $port]));
                echo "$command: answered\n";
            } catch (CeleryException $e) {
                $grown = peak() - $before;
                echo $grown < 48 ? '' : "$command took $grown MB: {$e->getMessage()}\n";
            }
            posix_kill(posix_getpid(), SIGKILL);
        }
        pcntl_waitpid($child, $status);
        posix_kill($server, SIGKILL);
        pcntl_waitpid($server, $status);
    }
    echo "$command: done\n";
}
?>
--EXPECT--
LPUSH: done
GET: done
DEL: done
PUBLISH: done
SUBSCRIBE: done
