--TEST--
get() receives a result as soon as it is published
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$id = $result->getId();
$child = pcntl_fork();
if ($child === 0) {
    // The child waits for a listener, and then stores a state that is not final, followed by the
    // result.
    $redis = redis();
    for ($tries = 0; $tries < 1000 && ($redis->pubsub('numsub', ["celery-task-meta-$id"])["celery-task-meta-$id"] ?? 0) < 1; ++$tries) {
        usleep(5000);
    }
    store($id, 'PROGRESS', ['done' => 1]);
    store($id, 'SUCCESS', 5);
    posix_kill(getmypid(), SIGKILL);
}
// The interval is long: only a push can deliver it in time.
var_dump($result->get(20, true, 15), stored($id));
pcntl_waitpid($child, $status);
?>
--EXPECT--
int(5)
bool(false)
