--TEST--
What a Redis does under the client: it ends, refuses, is full, and pauses
--EXTENSIONS--
celery
redis
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach (['Wait', 'Background', 'RedisServer'] as $class) {
    require_once __DIR__ . "/../../support/$class.php";
}
$server = new CeleryTests\RedisServer();
$redis = $server->client();
$queue = fresh('queue');
$client = client(['port' => $server->port, 'exchange' => $queue]);
$sent = 0;
$worst = -INF;

/** Posts with a deadline that is longer than any test. The task has to be queued. */
function works(string $after): void
{
    global $client, $queue, $server, $sent;
    $before = $server->client()->lLen($queue);
    $client->PostTask('proj.add', [++$sent, 0], false);
    printf("after %s: %d task\n", $after, $server->client()->lLen($queue) - $before);
}

/** Posts during a fault, and prints how the post fails at once. */
function fails(string $fault, string $words): void
{
    [$e] = post(60);
    $words = str_contains($e->getMessage(), $words) ? $words : $e->getMessage();
    printf("%s: %s, %s, %s\n", $fault, get_class($e), outcome($e), $words);
}

/**
 * Posts during a fault that the client waits for, and prints that it gives up at its deadline. That
 * may come while a repetition has no answer yet; then the outcome is unknown.
 */
function gives_up(string $fault, string $words, string $unanswered = 'took longer than'): void
{
    [$e, $over] = post(2);
    $answered = str_contains($e->getMessage(), $words) && outcome($e) === 'not queued';
    $is_expected = $answered || str_contains($e->getMessage(), $unanswered);
    echo $fault, $is_expected ? ': gave up' : ": {$e->getMessage()}", $over > 20 ? ', too late' : '', "\n";
}

/** @return array{CeleryException, float} what was thrown, and how long after the deadline */
function post(int $deadline): array
{
    global $client, $worst;
    ini_set('celery.post_timeout', (string) $deadline);
    $start = microtime(true);
    try {
        $client->PostTask('proj.add', [0, 0], false);
        throw new RuntimeException('it was posted');
    } catch (CeleryException $e) {
        $over = microtime(true) - $start - $deadline;
        $worst = max($worst, $over);

        return [$e, $over];
    } finally {
        ini_set('celery.post_timeout', '60');
    }
}

function outcome(CeleryException $e): string
{
    return $e instanceof CeleryPublishException && $e->outcomeUnknown() ? 'unknown' : 'not queued';
}

works('the start');

try {
    $redis->rawCommand('SHUTDOWN', 'NOSAVE');
} catch (RedisException) {
}
// Redis closes its connections one after the other.
$server->stop();
fails('SHUTDOWN NOSAVE', 'refused');
$server->start();
$redis = $server->client();
works('SHUTDOWN NOSAVE');

$redis->rawCommand('REPLICAOF', '127.0.0.1', (string) closed_port());
gives_up('-READONLY', 'READONLY');
$redis->rawCommand('REPLICAOF', 'NO', 'ONE');
works('-READONLY');

$redis->rawCommand('CONFIG', 'SET', 'maxmemory', '1');
gives_up('-OOM', 'OOM');
$redis->rawCommand('CONFIG', 'SET', 'maxmemory', '0');
works('-OOM');

$redis->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
$redis->rawCommand('CONFIG', 'SET', 'maxclients', '1');
gives_up('maxclients', 'max number of clients reached');
$redis->rawCommand('CONFIG', 'SET', 'maxclients', '1000');
works('maxclients');

$redis->rawCommand('CONFIG', 'SET', 'requirepass', 'changed');
$redis->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
fails('-NOAUTH', 'NOAUTH');
$redis->rawCommand('CONFIG', 'SET', 'requirepass', '');
works('-NOAUTH');

$redis->rawCommand('CLIENT', 'PAUSE', '600000', 'WRITE');
gives_up('CLIENT PAUSE', 'no words', 'may be in the queue');
// Redis drops the paused post with its connection.
until('the end of its connection', fn () => count($redis->client('list')) === 1);
$redis->rawCommand('CLIENT', 'UNPAUSE');
works('CLIENT PAUSE');

ini_set('celery.publish', 'once');
$client->PostTask('proj.add', [++$sent, 0], false);
$redis->rawCommand('SCRIPT', 'FLUSH');
works('SCRIPT FLUSH');
ini_set('celery.publish', 'confirmed');

printf("no call ended more than %.3f s after its deadline\n", $worst);
?>
--EXPECTF--
after the start: 1 task
SHUTDOWN NOSAVE: CeleryConnectionException, not queued, refused
after SHUTDOWN NOSAVE: 1 task
-READONLY: gave up
after -READONLY: 1 task
-OOM: gave up
after -OOM: 1 task
maxclients: gave up
after maxclients: 1 task
-NOAUTH: CeleryConnectionException, not queued, NOAUTH
after -NOAUTH: 1 task
CLIENT PAUSE: gave up
after CLIENT PAUSE: 1 task
after SCRIPT FLUSH: 1 task
no call ended more than %f s after its deadline
