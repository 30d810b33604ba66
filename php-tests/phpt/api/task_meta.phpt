--TEST--
Celery\TaskMeta has everything that is stored, also with result_extended
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, Result};

$client = new Client(redis_url());
$id = fresh('id');
$store = fn (array $document) => redis()->setex("celery-task-meta-$id", 60, json_encode($document));
$store([
    'status' => 'SUCCESS', 'result' => [
        'at' => ['__type__' => 'datetime', '__value__' => '2026-01-02T03:04:05.678901+02:00'],
        'naive' => ['__type__' => 'datetime', '__value__' => '2026-01-02T03:04:05'],
        'price' => ['__type__' => 'decimal', '__value__' => '1.10'],
        'uuid' => ['__type__' => 'uuid', '__value__' => ['hex' => '12345678123456781234567812345678']],
        'bytes' => ['__type__' => 'base64', '__value__' => '/wBhYmM='],
        'day' => [['__type__' => 'date', '__value__' => '2026-01-02']],
        'unknown' => ['__type__' => 'money', '__value__' => 5],
        'broken' => ['__type__' => 'datetime', '__value__' => 'soon'],
    ],
    'traceback' => null, 'children' => [[['c', null], null]], 'date_done' => '2026-11-22T07:44:20.001849+01:00',
    'group_id' => 'g', 'parent_id' => 'p', 'name' => 'proj.add', 'args' => [2, 3], 'kwargs' => ['x' => 1],
    'worker' => 'celery@host', 'retries' => 2, 'queue' => 'mails', 'stamped_headers' => ['tenant'], 'tenant' => ['acme'], 'task_id' => $id,
]);
$meta = $client->result($id)->meta();
var_dump($meta->result['at']->format('c u'), $meta->result['naive']->format('c'), $meta->result['price'], $meta->result['uuid']);
var_dump(bin2hex($meta->result['bytes']), $meta->result['day'], $meta->result['unknown'], $meta->result['broken']);
var_dump($meta->dateDone->format('c'), $meta->groupId, $meta->parentId, $meta->children[0]->id, $meta->known(), $meta->ready());
var_dump($meta->name, $meta->args, $meta->kwargs, $meta->worker, $meta->retries, $meta->queue, $meta->stamps);
echo "-- as JSON\n";
$store([
    'status' => 'FAILURE', 'result' => ['exc_type' => 'ValueError', 'exc_message' => ['boom', 1], 'exc_module' => 'builtins'],
    'traceback' => 'text', 'children' => [[['c', null], null]], 'date_done' => '2026-11-22T07:44:20.001849+01:00', 'task_id' => $id,
]);
echo str_replace($id, 'ID', json_encode($client->result($id)->meta())), "\n";
echo "-- large numbers, old dates, arguments as text\n";
redis()->setex("celery-task-meta-$id", 60, '{"status": "SUCCESS", "result": [123456789012345678901234567890, 1.0], "date_done": "2026-11-22T07:44:20", "args": "[2, 3]", "retries": null}');
$meta = $client->result($id)->meta();
var_dump($meta->result, $meta->dateDone->format('c'), $meta->args, $meta->retries, $meta->stamps);
echo "-- nothing\n";
redis()->del("celery-task-meta-$id");
$meta = $client->result($id)->meta();
var_dump($meta->state, $meta->id === $id, $meta->result, $meta->children, $meta->dateDone, $meta->stamps);
echo "-- beside the drop-in\n";
store($id, 'SUCCESS', ['a' => 1]);
$old = $client->result($id)->toAsyncResult();
var_dump(get_class($old), $old->getId() === $id, $old->get(5), stored($id));
$new = Result::fromAsyncResult($old);
redis()->del("celery-task-meta-$id");
var_dump($new->get(), $new->id === $id);
$posted = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$new = Result::fromAsyncResult($posted);
var_dump($new->name, $new->state());
store($new->id, 'SUCCESS', 5);
var_dump($new->get(5), stored($new->id), $new->toAsyncResult()->get(5));
?>
--EXPECTF--
string(32) "2026-01-02T03:04:05+02:00 678901"
string(25) "2026-01-02T03:04:05+00:00"
string(4) "1.10"
string(36) "12345678-1234-5678-1234-567812345678"
string(10) "ff00616263"
array(1) {
  [0]=>
  string(10) "2026-01-02"
}
array(2) {
  ["__type__"]=>
  string(5) "money"
  ["__value__"]=>
  int(5)
}
array(2) {
  ["__type__"]=>
  string(8) "datetime"
  ["__value__"]=>
  string(4) "soon"
}
string(25) "2026-11-22T07:44:20+01:00"
string(1) "g"
string(1) "p"
string(1) "c"
enum(Celery\State::Success)
bool(true)
string(8) "proj.add"
array(2) {
  [0]=>
  int(2)
  [1]=>
  int(3)
}
array(1) {
  ["x"]=>
  int(1)
}
string(11) "celery@host"
int(2)
string(5) "mails"
array(1) {
  ["tenant"]=>
  array(1) {
    [0]=>
    string(4) "acme"
  }
}
-- as JSON
{"task_id":"ID","status":"FAILURE","result":{"exc_type":"ValueError","exc_message":["boom",1],"exc_module":"builtins"},"traceback":"text","date_done":"2026-11-22T07:44:20.001849+01:00","parent_id":null,"group_id":null,"children":[{"id":"c"}],"name":null,"args":null,"kwargs":null,"worker":null,"retries":null,"queue":null,"stamps":[]}
-- large numbers, old dates, arguments as text
array(2) {
  [0]=>
  string(30) "123456789012345678901234567890"
  [1]=>
  float(1)
}
string(25) "2026-11-22T07:44:20+00:00"
NULL
NULL
array(0) {
}
-- nothing
string(7) "PENDING"
bool(true)
NULL
array(0) {
}
NULL
array(0) {
}
-- beside the drop-in
string(11) "AsyncResult"
bool(true)
object(stdClass)#%d (1) {
  ["a"]=>
  int(1)
}
bool(true)
array(1) {
  ["a"]=>
  int(1)
}
bool(true)
string(8) "proj.add"
string(7) "PENDING"
int(5)
bool(true)
int(5)
