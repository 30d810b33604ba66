--TEST--
jsonSerialize() may itself post a task, and may change the client in use
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Posts implements JsonSerializable
{
    public function __construct(public Celery $client, public string $queue)
    {
    }

    public function jsonSerialize(): mixed
    {
        $id = $this->client->PostTask('proj.inner', [1])->getId();
        $this->client->BuildConnection(arguments(['exchange' => $this->queue . '-later']));

        return strlen($id);
    }
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
var_dump($client->PostTask('proj.outer', [new Posts($client, $queue)], false));
var_dump(message($queue)['headers']['task'], body(message($queue))[0], redis()->exists("$queue-later"));
?>
--EXPECT--
bool(true)
string(10) "proj.inner"
array(1) {
  [0]=>
  int(36)
}
int(0)
