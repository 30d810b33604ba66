--TEST--
A child that is forked after get() has thrown posts and reads on its own connection, and so does its parent
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;

$queue = fresh('queue');
$ids = ['none' => fresh('none'), 'failed' => fresh('failed'), 'five' => fresh('five')];
store($ids['failed'], 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['no'], 'exc_module' => 'builtins']);
store($ids['five'], 'SUCCESS', 5);
ini_set('celery.keep_results', '1');
$old = client(['exchange' => $queue]);
$new = new Client(redis_url(), queue: $queue);
$reads = [
    'old' => fn (string $id, float $time) => (new AsyncResult($id, arguments()))->get($time),
    'new' => fn (string $id, float $time) => $new->result($id)->get($time),
];
foreach ($reads as $api => $read) {
    // The waits below have a connection then, so that their time cannot end before they have one.
    $read($ids['five'], 20);
    foreach (['none' => 1, 'failed' => 20] as $which => $time) {
        $exception = 'no exception';
        try {
            $read($ids[$which], $time);
        } catch (Exception $e) {
            $exception = get_class($e);
        }
        // The parent's exception holds the result and its connection. The child has a copy.
        $child = pcntl_fork();
        for ($i = 0; $i < 100; ++$i) {
            $old->PostTask('proj.echo', [$i], false);
            $new->sendTask('proj.echo', [$i]);
        }
        $five = $read($ids['five'], 20);
        if ($child === 0) {
            unset($e);
            gc_collect_cycles();
            exit($five === 5 ? 0 : 1);
        }
        pcntl_waitpid($child, $status);
        // The end of the child has not disturbed the parent.
        $old->PostTask('proj.echo', ['after'], false);
        echo "$api, $which: $exception, ", json_encode([$five, pcntl_wexitstatus($status), redis()->lLen($queue)]), "\n";
        redis()->del($queue);
    }
}
?>
--EXPECT--
old, none: CeleryTimeoutException, [5,0,401]
old, failed: no exception, [5,0,401]
new, none: Celery\ResultTimeout, [5,0,401]
new, failed: Celery\TaskFailed, [5,0,401]
