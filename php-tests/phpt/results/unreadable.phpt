--TEST--
A stored value that is not a result document is reported, and never ends the script
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach (['not json', '5', '[1, 2]', "\x80\x04pickle", '{"status": "SUCCESS", "result": ' . str_repeat('[', 100000), "\xff"] as $text) {
    $id = fresh('id');
    redis()->setex("celery-task-meta-$id", 60, $text);
    try {
        $ready = (new AsyncResult($id, arguments()))->isReady();
        echo $ready ? 'ready?' : 'no result';
    } catch (CeleryException $e) {
        echo 'no result';
    }
    try {
        (new AsyncResult($id, arguments()))->get(0.05);
        echo ", got one?\n";
    } catch (CeleryException $e) {
        echo ", not by get() either\n";
    }
}
?>
--EXPECT--
no result, not by get() either
no result, not by get() either
no result, not by get() either
no result, not by get() either
no result, not by get() either
no result, not by get() either
