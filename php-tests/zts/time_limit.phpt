--TEST--
max_execution_time ends a wait for a result: a thread-safe PHP counts wall-clock time
--EXTENSIONS--
celery
--INI--
max_execution_time=1
--FILE--
<?php
require __DIR__ . '/../phpt/support.inc';
$start = microtime(true);
register_shutdown_function(function () use ($start) {
    echo microtime(true) - $start < 10 ? "in time\n" : "too late\n";
});
client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3])->get(30);
echo "never\n";
?>
--EXPECTF--
Fatal error: Maximum execution time of 1 second exceeded in %stime_limit.php on line %d
in time
