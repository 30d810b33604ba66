--TEST--
A result survives serialize() and unserialize(), before and after it is ready
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends AsyncResult
{
    public $note;
    protected $inner = 'x';
    private $own = 'y';

    public function own()
    {
        return $this->inner . $this->own;
    }

    public function change()
    {
        $this->inner = 'changed ';
        $this->own = 'too';
    }
}
$client = client(['exchange' => fresh('queue')]);
$result = $client->PostTask('proj.add', [2, 3]);
$copy = unserialize(serialize($result));
store($result->getId(), 'SUCCESS', 5);
var_dump(get_class($copy), $copy->getId() === $result->getId(), $copy->get(5), stored($result->getId()));
$again = unserialize(serialize($copy));
var_dump($again->isReady(), $again->getStatus(), $again->getResult(), $again->get(0));

$mine = new Mine(fresh('id'), arguments(), 'proj.add', [2, 3]);
$mine->note = ['kept'];
$mine->change();
$copy = unserialize(serialize($mine));
var_dump(get_class($copy), $copy->note, $copy->own(), $copy->getId() === $mine->getId());
try {
    $copy->get(0);
} catch (CeleryTimeoutException $e) {
    var_dump(str_contains($e->getMessage(), 'proj.add'), str_contains($e->getMessage(), '2'));
}
$failed = $client->PostTask('proj.fail', [str_repeat('long ', 1000)]);
store($failed->getId(), 'FAILURE', ['exc_type' => 'E', 'exc_message' => ['m'], 'exc_module' => 'm'], 'Traceback');
$failed->get(5);
$text = serialize($failed);
$copy = unserialize($text);
var_dump(strlen($text) < 1500, $copy->getStatus(), $copy->getResult()->exc_type, $copy->getTraceback());
?>
--EXPECT--
string(11) "AsyncResult"
bool(true)
int(5)
bool(false)
bool(true)
string(7) "SUCCESS"
int(5)
int(5)
string(4) "Mine"
array(1) {
  [0]=>
  string(4) "kept"
}
string(11) "changed too"
bool(true)
bool(true)
bool(true)
bool(true)
string(7) "FAILURE"
string(1) "E"
string(9) "Traceback"
