--TEST--
Celery\GroupResult is saved as Python saves it, and restored from what Python saved
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, GroupResult, Result};

$client = new Client(redis_url());
$gid = fresh('group');
var_dump($client->groupResult($gid));
echo "-- saved by PHP\n";
$group = new GroupResult($gid, ['a' => $client->result("$gid-a"), 'b' => $client->result("$gid-b")]);
var_dump($group->id === $gid, $group->parent, count($group), $group[1]->id === "$gid-b");
$group->save();
echo str_replace($gid, 'GID', redis()->get("celery-taskset-meta-$gid")), "\n";
var_dump(redis()->ttl("celery-taskset-meta-$gid") > 86000);
$restored = $client->groupResult($gid);
var_dump($restored == $group, get_class($restored[0]), $restored[1]->id === "$gid-b");
store("$gid-a", 'SUCCESS', 1);
store("$gid-b", 'SUCCESS', [2]);
var_dump($restored->get() === [1, [2]]);
$restored->delete();
var_dump($client->groupResult($gid), stored("$gid-a"));
echo "-- saved by Python\n";
// As the fixture group_saved_nested.json, with a parent.
redis()->set("celery-taskset-meta-$gid", '{"result": [["' . $gid . '", [["p", [["q", null], null]], null]], [[["a", null], null], [["h", null], [[["b", null], null]]], [["c", [["a2", null], null]], null]]]}');
$restored = $client->groupResult($gid);
var_dump($restored->parent->id, $restored->parent->parent->id, count($restored), $restored[1] instanceof GroupResult, $restored[1][0]->id, $restored[2]->parent->id);
$restored->save();
var_dump(json_decode(redis()->get("celery-taskset-meta-$gid")) == json_decode('{"result": [["' . $gid . '", [["p", [["q", null], null]], null]], [[["a", null], null], [["h", null], [[["b", null], null]]], [["c", [["a2", null], null]], null]]]}'));
echo "-- children of a task\n";
$document = ['status' => 'SUCCESS', 'result' => 1, 'children' => [[['k1', null], null], [['kg', null], [[['k2', null], null]]], 'odd'], 'task_id' => "$gid-t"];
redis()->setex("celery-task-meta-$gid-t", 60, json_encode($document));
[$child, $grand] = $client->result("$gid-t")->children();
var_dump($child->id, $grand instanceof GroupResult, $grand->id, $grand[0]->id);
echo "-- forget\n";
// A result forgets its parents, too, as in Python.
redis()->set("celery-taskset-meta-$gid", str_replace('ID', $gid, '{"result": [["ID", [["ID-p", null], null]], [[["ID-a", null], null], [["ID-c", [["ID-q", null], null]], null]]]}'));
$stored = fn () => implode(' ', array_filter(['p', 'q', 'a', 'c'], fn ($one) => stored("$gid-$one")));
foreach (['p', 'q', 'a', 'c'] as $one) {
    store("$gid-$one", 'SUCCESS', 1);
}
$group = $client->groupResult($gid);
var_dump($group->completedCount());
$group[1]->forget();
var_dump($stored(), $group[1]->state());
$group->forget();
var_dump($stored(), $group->completedCount());
echo "-- sent\n";
$queue = fresh('queue');
$add = $client->with(queue: $queue)->signature('proj.add');
$sent = (new Celery\Group($add->s(1, 1), new Celery\Chain($add->s(2, 2), $add->s(3))))->delay();
var_dump($sent instanceof GroupResult, count($sent), $sent[0]->name, $sent[1]->parent instanceof Result, redis()->lLen($queue));
for (; $message = message($queue); ) {
    $task = $message['headers']['id'];
    store($task, 'SUCCESS', $task === $sent[0]->id ? 2 : 4);
}
store($sent[1]->id, 'SUCCESS', 7);
var_dump($sent->get(20));
$sent->save();
var_dump($client->groupResult($sent->id)->get(20) === [2, 7]);
echo "-- refused\n";
redis()->set("celery-taskset-meta-$gid", '{"result": [["x", null], null]}');
show(fn () => $client->groupResult($gid));
redis()->set("celery-taskset-meta-$gid", "\x80\x04K\x05.");
show(fn () => $client->groupResult($gid));
show(fn () => new GroupResult(''));
show(fn () => (new GroupResult('g', [Result::succeeded(1)]))->save());
show(fn () => $group->__construct('other'));
?>
--EXPECTF--
NULL
-- saved by PHP
bool(true)
NULL
int(2)
bool(true)
{"result":[["GID",null],[[["GID-a",null],null],[["GID-b",null],null]]]}
bool(true)
bool(true)
string(13) "Celery\Result"
bool(true)
bool(true)
NULL
bool(true)
-- saved by Python
string(1) "p"
string(1) "q"
int(3)
bool(true)
string(1) "b"
string(2) "a2"
bool(true)
-- children of a task
string(2) "k1"
bool(true)
string(2) "kg"
string(2) "k2"
-- forget
int(2)
string(3) "p a"
string(7) "PENDING"
string(1) "p"
int(0)
-- sent
bool(true)
int(2)
string(8) "proj.add"
bool(true)
int(2)
array(2) {
  [0]=>
  int(2)
  [1]=>
  int(7)
}
bool(true)
-- refused
Celery\Unreadable: The saved group %s cannot be read: not a result document: it is not a group.
Celery\Unreadable: The saved group %s cannot be read: the stored result is a pickle, which is refused; set result_serializer to json.
ValueError: Celery\GroupResult::__construct(): Argument #1 ($id) must not be empty
LogicException: This group has no client: none of its results has one.
Error: This object was constructed already.
