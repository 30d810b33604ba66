--TEST--
Client::queueLengths(), heldTasks() and purge() count and delete tasks; fromCelery()
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;

[$queue, $other] = [fresh(), fresh()];
$client = new Client(redis_url(), queue: $queue);
foreach ([null, 0, 3, 9] as $priority) {
    $client->sendTask('proj.add', [1, 2], priority: $priority);
}
$client->sendTask('proj.add', queue: $other);
$show = fn (array $lengths) => print json_encode(array_combine(str_replace([$queue, $other], ['default', 'other'], array_keys($lengths)), $lengths)) . "\n";
$show($client->queueLengths());
$show($client->queueLengths($other, $queue, 'nothing'));
$show($client->queueLengths(...['a' => $other]));
var_dump(array_keys($client->queueLengths('123')));
var_dump($client->purge(), $client->purge(), $client->purge($other, 'nothing'));
$show($client->queueLengths($queue, $other));
$there = new Client('redis://127.0.0.1:' . redis_port() . '/4');
redis(4)->del('unacked_index');
var_dump($there->heldTasks());
redis(4)->zAdd('unacked_index', 1, 'a', 2, 'b');
var_dump($there->heldTasks());
redis(4)->del('unacked_index');
show(fn () => $client->purge(''));
show(fn () => $client->queueLengths('a', str_repeat('b', 1000)));
show(fn () => (new Client('redis://127.0.0.1:1'))->purge());
// The queue of a drop-in client is its exchange.
$same = Client::fromCelery(client(['exchange' => $other]));
client(['exchange' => $other])->PostTask('proj.add', [1]);
var_dump($same->purge());
var_dump(Client::fromCelery(new CeleryAdvanced(arguments(['exchange' => $other]), arguments(['vhost' => 3])))->__debugInfo()['backend'] !== $same->__debugInfo()['backend']);
class Forgetful extends Celery
{
    public function __construct()
    {
    }
}
show(fn () => Client::fromCelery(new Forgetful()));
?>
--EXPECTF--
{"default":4}
{"other":1,"default":4,"nothing":0}
{"other":1}
array(1) {
  [0]=>
  int(123)
}
int(4)
int(0)
int(1)
{"default":0,"other":0}
int(0)
int(2)
ValueError: Celery\Client::purge(): Argument #1 cannot be used: queue name is empty
ValueError: %s
CeleryConnectionException: Could not purge the queue on redis://127.0.0.1:1/0: Connection refused (os error 111). Check that Redis runs there, and the host and the port.
int(1)
bool(true)
CeleryException: This client has no connection: its constructor did not run. A subclass must call parent::__construct() (or BuildConnection()) in its own constructor.
