--TEST--
A result larger than memory_limit is refused while it arrives
--EXTENSIONS--
celery
--INI--
memory_limit=16M
--FILE--
<?php
require __DIR__ . '/../support.inc';
$id = fresh('id');
redis()->eval(
    'return redis.call("setex", KEYS[1], 60, \'{"status": "SUCCESS", "result": "\' .. string.rep("x", 20000000) .. \'"}\')',
    ["celery-task-meta-$id"],
    1,
);
$result = new AsyncResult($id, arguments());
show(fn () => $result->isReady());
show(fn () => $result->get(5));
store($id, 'SUCCESS', 5);
show(fn () => $result->get(5));
?>
--EXPECTF--
CeleryException: Could not read the result on %s: %s
CeleryException: Could not wait for the result on %s: %s
int(5)
