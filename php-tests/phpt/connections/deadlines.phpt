--TEST--
No call outlasts its deadline: a silent broker, a drip, a distant one, slow TLS, an unknown name
--EXTENSIONS--
celery
pcntl
posix
--INI--
celery.connect_timeout=0.3
celery.post_timeout=0.6
celery.command_timeout=0.6
celery.idle_check=3600
--SKIPIF--
<?php
require __DIR__ . '/../support.inc';
Proxy::skip();
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';

/** Makes each call on a client, and prints the longest time by which one exceeded its deadline. */
function overshoot(string $fault, array $changes, ?callable $begin = null): void
{
    $client = client($changes);
    $result = new AsyncResult(fresh('id'), arguments($changes));
    $calls = [
        'PostTask' => fn () => $client->PostTask('proj.add', [2, 3]),
        'PostTasks' => fn () => $client->PostTasks([['proj.add', [2]], ['proj.add', [3]]]),
        'once' => function () use ($client) {
            ini_set('celery.publish', 'once');
            $client->PostTask('proj.add', [2, 3]);
        },
        'pipelined' => function () use ($client) {
            ini_set('celery.publish', 'pipelined');
            $client->PostTask('proj.add', [2, 3]);
            $client->flush();
        },
        'isReady' => fn () => $result->isReady(),
        'get' => fn () => $result->get(0.6),
        'revoke' => fn () => $result->revoke(),
        'forget' => fn () => $result->forget(),
    ];
    $worst = -INF;
    $held = [];
    foreach ($calls as $name => $call) {
        $begin && $begin($client);
        $start = microtime(true);
        try {
            $call();
            echo "$fault, $name: it returned\n";
        } catch (CeleryException $e) {
            $held[] = $name;
        } finally {
            ini_restore('celery.publish');
        }
        // A flush has a deadline of its own.
        $over = microtime(true) - $start - ($name === 'pipelined' ? 1.2 : 0.6);
        $worst = max($worst, $over);
        if ($over > 20) {
            echo "$fault, $name: $over s too late\n";
        }
    }
    printf("%s: %d calls ended, at most %.3f s after their deadlines\n", $fault, count($held), $worst);
}

$proxy = new Proxy(redis_port());
$through = ['port' => $proxy->port];
// The connection is open when the fault begins. After it, the extension drops the connection.
$open = fn (string $fault) => function (Celery $client) use ($proxy, $fault) {
    $proxy->tell('none');
    foreach (['connect_timeout' => '60', 'post_timeout' => '60'] as $name => $value) {
        ini_set("celery.$name", $value);
    }
    $client->PostTask('proj.add', [0, 0], false);
    ini_restore('celery.connect_timeout');
    ini_restore('celery.post_timeout');
    $proxy->tell($fault);
};

$proxy->tell('silence');
overshoot('silent from the start', $through);
$proxy->tell('drip 1000');
overshoot('a byte a second from the start', $through);
overshoot('silent on an open connection', $through, $open('silence'));
overshoot('a byte a second on an open connection', $through, $open('drip 1000'));
overshoot('half a minute on an open connection', $through, $open('latency 30000'));
$proxy->tell('silence');
overshoot('silent TLS', $through + ['ssl_options' => ['verify_peer' => false]]);
overshoot('an unknown name', ['host' => 'no-such-host.invalid']);

// A handshake that never ends: the header of a record, and then a byte now and then.
[$socket, $port] = silent_server();
$child = pcntl_fork();
if ($child === 0) {
    $streams = [];
    while (true) {
        $read = [$socket];
        $write = $except = null;
        if (stream_select($read, $write, $except, 0, 50_000)) {
            $streams[] = $stream = stream_socket_accept($socket, 0);
            fwrite($stream, "\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb");
        }
        foreach ($streams as $stream) {
            @fwrite($stream, "\0");
        }
    }
}
overshoot('slow TLS', ['port' => $port, 'ssl_options' => ['verify_peer' => false]]);
posix_kill($child, SIGKILL);
pcntl_waitpid($child, $status);
?>
--EXPECTF--
silent from the start: 8 calls ended, at most %f s after their deadlines
a byte a second from the start: 8 calls ended, at most %f s after their deadlines
silent on an open connection: 8 calls ended, at most %f s after their deadlines
a byte a second on an open connection: 8 calls ended, at most %f s after their deadlines
half a minute on an open connection: 8 calls ended, at most %f s after their deadlines
silent TLS: 8 calls ended, at most %f s after their deadlines
an unknown name: 8 calls ended, at most %f s after their deadlines
slow TLS: 8 calls ended, at most %f s after their deadlines
