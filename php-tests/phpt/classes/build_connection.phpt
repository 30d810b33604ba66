--TEST--
A subclass of CeleryAbstract builds its connections itself
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends CeleryAbstract
{
    function __construct($details)
    {
        $this->BuildConnection($details);
        $this->BuildConnection(['vhost' => 3] + $details, true);
    }
}
$queue = fresh('queue');
$client = new Mine(arguments(['exchange' => $queue]));
$result = $client->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 5, database: 3);
var_dump($result->get(5), message($queue)['headers']['id'] === $result->getId());
show(fn () => Celery::InitializeAMQPConnection([]));
show(fn () => $client->BuildConnection('127.0.0.1'));
?>
--EXPECTF--
int(5)
bool(true)
CeleryException: InitializeAMQPConnection() has nothing to return: %s
CeleryException: $connection_details must be an array %s
