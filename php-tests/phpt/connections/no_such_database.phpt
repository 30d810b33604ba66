--TEST--
A database that the server does not have causes a CeleryConnectionException at once
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$message = function (callable $call) {
    try {
        $call();
    } catch (CeleryConnectionException $e) {
        return preg_replace('#redis://\S+/#', 'redis://HOST/', $e->getMessage());
    }
};
within(0.5, fn () => $message(fn () => client(['vhost' => 99, 'exchange' => $queue])->PostTask('proj.add', [2, 3])));
within(0.5, fn () => $message(fn () => (new AsyncResult('id', arguments(['vhost' => 99])))->get(30)));
var_dump(redis()->exists($queue));
?>
--EXPECT--
string(139) "Cannot reach the broker redis://HOST/99: the database cannot be used: the server has no database with this number. The task was not queued."
in time
string(123) "Could not wait for the result on redis://HOST/99: the database cannot be used: the server has no database with this number."
in time
int(0)
