--TEST--
The methods of a result call one another through the object, so that a subclass can override them
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Wrapped extends AsyncResult
{
    public $asked = 0;

    function isReady()
    {
        return ++$this->asked > 2 && parent::isReady();
    }

    function getResult()
    {
        return ['wrapped' => parent::getResult()];
    }
}
class NeverReady extends AsyncResult
{
    function isReady()
    {
        return false;
    }
}
class Throws extends AsyncResult
{
    function isReady()
    {
        throw new DomainException('mine');
    }
}
$id = fresh('id');
store($id, 'SUCCESS', 5);
$result = new Wrapped($id, arguments());
var_dump($result->get(5, true, 0.001), $result->asked > 2, $result->result, $result->wait());
store($id, 'SUCCESS', 5);
$never = new NeverReady($id, arguments());
show(fn () => $never->get(0.02, true, 0.01));
var_dump($never->state, $never->failed(), stored($id));
show(fn () => (new Throws($id, arguments()))->get(5));
?>
--EXPECTF--
array(1) {
  ["wrapped"]=>
  int(5)
}
bool(true)
array(1) {
  ["wrapped"]=>
  int(5)
}
array(1) {
  ["wrapped"]=>
  int(5)
}
CeleryTimeoutException (4): %s
string(7) "PENDING"
bool(false)
bool(true)
DomainException: mine
