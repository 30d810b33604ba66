--TEST--
celery-php's properties can be read, unknown ones warn, and scripts can set their own
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
#[AllowDynamicProperties]
class Mine extends AsyncResult
{
    public $declared = 1;
}
$id = fresh('id');
$result = new Mine($id, arguments(), 'proj.add', [2, ['k' => 3]]);
var_dump($result->task_id === $id, $result->task_name, $result->task_args, $result->body, $result->declared, isset($result->state));
store($id, 'SUCCESS', 5);
$result->get(5);
var_dump($result->body->result, $result->complete_result['result']);
$result->note = 'mine';
var_dump($result->note, @$result->connection_details, $result->colour);
?>
--EXPECTF--
bool(true)
string(8) "proj.add"
array(2) {
  [0]=>
  int(2)
  [1]=>
  array(1) {
    ["k"]=>
    int(3)
  }
}
NULL
int(1)
bool(false)
int(5)
int(5)

Warning: %SUndefined property: AsyncResult::$colour in %s on line %d
string(4) "mine"
NULL
NULL
