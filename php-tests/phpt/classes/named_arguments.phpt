--TEST--
Named arguments, with optional ones omitted
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = new Celery(host: '127.0.0.1', login: null, password: null, vhost: '/', connector: 'REDIS', port: (string) redis_port(), exchange: $queue);
var_dump($client->PostTask(args: [1], task: 'proj.echo', async_result: false));
var_dump($client->PostTask('proj.echo', [2], task_args: ['retries' => 2])->getId() !== '');
var_dump(body(message($queue))[0], message($queue)['headers']['retries']);
$queue = fresh('queue');
$client = new Celery\Celery('127.0.0.1', '', '', 0, $queue, port: redis_port(), connector: 'redis', result_expire: 5);
var_dump($client->PostTask('proj.echo', [3], options: ['id' => 'mine-' . $queue])->getId() === "mine-$queue");
var_dump(message($queue)['headers']['id'] === "mine-$queue");
?>
--EXPECT--
bool(true)
bool(true)
array(1) {
  [0]=>
  int(1)
}
int(2)
bool(true)
bool(true)
