--TEST--
revoke() informs all workers, as Python's app.control.revoke does
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$pipe = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
$child = pcntl_fork();
if ($child === 0) {
    $redis = redis();
    $redis->setOption(Redis::OPT_READ_TIMEOUT, 20);
    try {
        $redis->subscribe(['/0.celery.pidbox'], function ($redis, $channel, $raw) use ($pipe, $result) {
            if (str_contains(base64_decode(json_decode($raw, true)['body']), $result->getId())) {
                fwrite($pipe[1], $raw . "\n");
                posix_kill(getmypid(), SIGKILL);
            }
        });
    } finally {
        posix_kill(getmypid(), SIGKILL);
    }
}
fclose($pipe[1]);
for ($tries = 0; $tries < 1000 && redis()->pubsub('numsub', ['/0.celery.pidbox'])['/0.celery.pidbox'] < 1; ++$tries) {
    usleep(5000);
}
var_dump($result->revoke());
stream_set_timeout($pipe[0], 20);
$message = json_decode(fgets($pipe[0]), true);
$body = json_decode(base64_decode($message['body']), true);
var_dump($body['method'], (array) $body['arguments']['task_id'] === [$result->getId()], $body['arguments']['terminate'], $body['destination']);
pcntl_waitpid($child, $status);
?>
--EXPECT--
NULL
string(6) "revoke"
bool(true)
bool(false)
NULL
