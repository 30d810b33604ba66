--TEST--
Clones of clients and results work, and have their own properties
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends AsyncResult
{
    public $list = [1];
    private $own = 'own';

    public function __clone()
    {
        $this->list[] = $this->own;
    }
}
$queue = fresh('queue');
$client = clone client(['exchange' => $queue]);
var_dump($client->PostTask('proj.echo', [], false));
$id = fresh('id');
$result = new Mine($id, arguments());
$copy = clone $result;
$result->list[] = 'changed';
store($id, 'SUCCESS', 5);
var_dump(get_class($copy), $copy->list, $copy->get(5), $result->list);
?>
--EXPECT--
bool(true)
string(4) "Mine"
array(2) {
  [0]=>
  int(1)
  [1]=>
  string(3) "own"
}
int(5)
array(2) {
  [0]=>
  int(1)
  [1]=>
  string(7) "changed"
}
