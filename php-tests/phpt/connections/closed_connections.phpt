--TEST--
Hundreds of connections that the server closes at random moments: no task is lost, and none is queued twice
--EXTENSIONS--
celery
pcntl
posix
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

foreach (['confirmed', 'once'] as $mode) {
    ini_set('celery.publish', $mode);
    $redis->del($queue);
    $child = pcntl_fork();
    if ($child === 0) {
        $killer = $server->client();
        for ($killed = 0; $killed < 150;) {
            $killed += (int) $killer->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
            usleep(random_int(0, 2000));
        }
        posix_kill(posix_getpid(), SIGKILL);
    }
    $outcomes = ['done' => [], 'unknown' => [], 'failed' => []];
    for ($n = 0; pcntl_waitpid($child, $status, WNOHANG) === 0; ++$n) {
        try {
            $client->PostTask('proj.add', [$n, 0], false);
            $outcomes['done'][] = $n;
        } catch (CeleryPublishException $e) {
            $outcomes[$e->outcomeUnknown() ? 'unknown' : 'failed'][] = $n;
        } catch (CeleryException) {
            $outcomes['failed'][] = $n;
        }
    }
    ini_set('celery.publish', 'confirmed');
    $redis = $server->client();
    $numbers = array_map(fn (string $raw) => body(json_decode($raw, true))[0][0], $redis->lRange($queue, 0, -1));
    $times = array_count_values($numbers);
    printf(
        "%s: 150 connections closed; %d lost, %d twice, %d refused but queued, %s\n",
        $mode,
        count(array_diff($outcomes['done'], $numbers)),
        count(array_filter($times, fn (int $n) => $n > 1)),
        count(array_intersect($outcomes['failed'], $numbers)),
        $mode === 'confirmed' || $outcomes['unknown'] === [] ? 'as promised' : 'unknown: ' . count($outcomes['unknown']),
    );
}

// The connection that waits for a result is closed five times; then the result comes.
$id = fresh('id');
$child = pcntl_fork();
if ($child === 0) {
    $killer = $server->client();
    for ($killed = 0; $killed < 5;) {
        $killed += (int) $killer->rawCommand('CLIENT', 'KILL', 'TYPE', 'pubsub');
        usleep(1000);
    }
    $document = json_encode(['status' => 'SUCCESS', 'result' => 5, 'traceback' => null, 'children' => [], 'task_id' => $id]);
    $killer->setex("celery-task-meta-$id", 600, $document);
    $killer->publish("celery-task-meta-$id", $document);
    posix_kill(posix_getpid(), SIGKILL);
}
$result = new AsyncResult($id, arguments(['port' => $server->port]));
var_dump($result->get(120));
pcntl_waitpid($child, $status);
?>
--EXPECT--
confirmed: 150 connections closed; 0 lost, 0 twice, 0 refused but queued, as promised
once: 150 connections closed; 0 lost, 0 twice, 0 refused but queued, as promised
int(5)
