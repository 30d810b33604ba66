--TEST--
A result that does not fit into PHP's memory is still stored after the script has died of it
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
// The text has 2 MB; each [1] in it takes a hundred times as much of PHP's memory.
$document = '{"status": "SUCCESS", "result": [' . str_repeat('[1],', 500000) . '0]}';
$ask = [
    'isReady' => fn () => (new AsyncResult($GLOBALS['id'], arguments()))->isReady(),
    'get' => fn () => (new AsyncResult($GLOBALS['id'], arguments()))->get(5),
    'getAsyncResultMessage' => fn () => client()->getAsyncResultMessage('proj.many', $GLOBALS['id']),
];
foreach ($ask as $what => $call) {
    $id = fresh('id');
    redis()->setex("celery-task-meta-$id", 60, $document);
    $child = pcntl_fork();
    if ($child === 0) {
        ini_set('display_errors', '0');
        ini_set('log_errors', '0');
        ini_set('memory_limit', '32M');
        register_shutdown_function(function () use ($what, $id, $call) {
            $kept = stored($id) ? 'still stored' : 'lost';
            ini_set('memory_limit', '512M');
            $call();
            echo "$what: $kept, then ", stored($id) ? 'not deleted' : 'read and deleted', "\n";
        });
        $call();
        exit("never\n");
    }
    pcntl_waitpid($child, $status);
}
?>
--EXPECT--
isReady: still stored, then read and deleted
get: still stored, then read and deleted
getAsyncResultMessage: still stored, then read and deleted
