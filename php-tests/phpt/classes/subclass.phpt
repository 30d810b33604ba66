--TEST--
A subclass keeps its properties and overrides methods without types, as for celery-php
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends Celery
{
    public $log = [];

    function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $task_args = array())
    {
        $this->log[] = $task;

        return parent::PostTask($task, $args, $async_result, $routing_key, $task_args);
    }
}
$queue = fresh('queue');
$client = new Mine(...arguments(['exchange' => $queue]));
$result = $client->PostTask('proj.add', [2, 3]);
var_dump($client instanceof CeleryAbstract, $client->log, $result instanceof AsyncResult);
var_dump(message($queue)['headers']['task']);
$copy = clone $client;
var_dump(get_class($copy), $copy->log, $copy->PostTask('proj.mul', [2, 3], false), $client->log === $copy->log);
?>
--EXPECT--
bool(true)
array(1) {
  [0]=>
  string(8) "proj.add"
}
bool(true)
string(8) "proj.add"
string(4) "Mine"
array(1) {
  [0]=>
  string(8) "proj.add"
}
bool(true)
bool(false)
