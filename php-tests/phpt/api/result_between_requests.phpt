--TEST--
Results survive serialize() with ids, names and final states; the string holds no address and creates no connection
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, GroupResult, Result, ResultSet, TaskRevoked};

$client = new Client(redis_url());
$id = fresh('id');
$result = $client->result($id);
store($id, 'PROGRESS', 1);
$string = serialize($result);
var_dump(preg_match('~127\.0\.0\.1|redis://|' . redis_port() . '~', $string));
$again = unserialize($string);
var_dump($again == $result, $again->state());
store($id, 'SUCCESS', ['a' => 5]);
var_dump($again->get(), unserialize(serialize($again))->get());
redis()->del("celery-task-meta-$id");
// A final state is in the string.
var_dump(unserialize(serialize($again))->get());
$failed = unserialize(serialize(Result::failedWith(new TaskRevoked('expired', 'x7', 'TaskRevokedError', 'celery.exceptions', ['expired']))));
show(fn () => $failed->get());
var_dump($failed->id, $failed->state());
var_dump(unserialize(serialize(Result::succeeded([1, 'x' => null], 'y')))->get());
$group = new GroupResult('g', [$again, Result::succeeded(2)], $client->result('parent'));
$copy = unserialize(serialize($group));
var_dump($copy->id, $copy->parent->id, $copy->get());
$set = unserialize(serialize(new ResultSet(['k' => $again])));
var_dump($set->get());
var_dump((clone $set)->get(), (clone $again)->get());
// Known only by its name: a client of that name, or php.ini, must be there.
$foreign = preg_replace('~s:10:"connection";s:\d+:"[^"]*"~', 's:10:"connection";s:7:"unknown"', serialize($client->result($id)));
show(fn () => unserialize($foreign)->state());
echo "-- broken strings\n";
foreach ([
    'O:13:"Celery\Result":0:{}',
    'O:13:"Celery\Result":1:{s:7:"version";i:1;}',
    'O:13:"Celery\Result":1:{s:7:"version";i:9;}',
    'O:13:"Celery\Result":2:{s:7:"version";i:1;s:2:"id";i:5;}',
    'O:13:"Celery\Result":3:{s:7:"version";i:1;s:2:"id";s:1:"a";s:6:"result";s:2:"{}";}',
    'O:13:"Celery\Result":3:{s:7:"version";i:1;s:2:"id";s:1:"a";s:6:"result";s:20:"{"status":"STARTED"}";}',
    'O:13:"Celery\Result":3:{s:7:"version";i:1;s:2:"id";s:1:"a";s:6:"parent";O:8:"stdClass":0:{}}',
    'O:16:"Celery\ResultSet":0:{}',
    'O:16:"Celery\ResultSet":1:{s:7:"results";a:1:{i:0;i:1;}}',
    'O:18:"Celery\GroupResult":1:{s:7:"results";a:0:{}}',
    'O:15:"Celery\TaskMeta":0:{}',
] as $broken) {
    show(fn () => unserialize($broken) instanceof stdClass);
}
show(fn () => $again->__unserialize(['version' => 1, 'id' => 'other']));
?>
--EXPECTF--
int(0)
bool(true)
string(8) "PROGRESS"
array(1) {
  ["a"]=>
  int(5)
}
array(1) {
  ["a"]=>
  int(5)
}
array(1) {
  ["a"]=>
  int(5)
}
Celery\TaskRevoked: expired
string(2) "x7"
string(7) "REVOKED"
array(2) {
  [0]=>
  int(1)
  ["x"]=>
  NULL
}
string(1) "g"
string(6) "parent"
array(2) {
  [0]=>
  array(1) {
    ["a"]=>
    int(5)
  }
  [1]=>
  int(2)
}
array(1) {
  ["k"]=>
  array(1) {
    ["a"]=>
    int(5)
  }
}
array(1) {
  ["k"]=>
  array(1) {
    ["a"]=>
    int(5)
  }
}
array(1) {
  ["a"]=>
  int(5)
}
CeleryException: The connection of this stored result is not known here. %s
-- broken strings
CeleryException: This is not a stored Result: it has no version.
CeleryException: This is not a stored Result: it has no task id.
CeleryException: This is not a stored Result: it has version 9, and this extension reads version 1.
CeleryException: This is not a stored Result: its field id is not a string.
Celery\Unreadable: The stored result of task a cannot be read: not a result document: it has no status.
CeleryException: This is not a stored Result: its result is not final.
CeleryException: This is not a stored Result: its parent is not a result.
CeleryException: This is not a stored set of results.
CeleryException: This is not a stored set of results.
CeleryException: This is not a stored GroupResult.
%A
Error: This object was constructed already.
