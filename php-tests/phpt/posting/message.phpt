--TEST--
A posted message has every field that Python Celery writes
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$result = client(['exchange' => $queue])->PostTask('proj.add', [2, 3]);
$message = message($queue);
echo implode(' ', array_keys($message)), "\n";
echo implode(' ', array_keys($message['headers'])), "\n";
echo implode(' ', array_keys($message['properties'])), "\n";
echo base64_decode($message['body']), "\n";
$uuid = '/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/';
$id = $message['headers']['id'];
var_dump([
    'ids' => preg_match($uuid, $id) === 1 && $id === $result->getId() && $id === $message['headers']['root_id'] && $id === $message['properties']['correlation_id'],
    'delivery tag of its own' => preg_match($uuid, $message['properties']['delivery_tag']) === 1 && $message['properties']['delivery_tag'] !== $id,
    'origin' => $message['headers']['origin'] === 'php' . getmypid() . '@' . gethostname(),
    'lang' => $message['headers']['lang'],
    'argsrepr' => $message['headers']['argsrepr'],
    'kwargsrepr' => $message['headers']['kwargsrepr'],
    'timelimit' => $message['headers']['timelimit'],
    'delivery_info' => $message['properties']['delivery_info'] === ['exchange' => '', 'routing_key' => $queue],
    'priority' => $message['properties']['priority'],
    'delivery_mode' => $message['properties']['delivery_mode'],
    'content' => [$message['content-type'], $message['content-encoding'], $message['properties']['body_encoding']],
]);
?>
--EXPECT--
body content-encoding content-type headers properties
lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr origin ignore_result replaced_task_nesting stamped_headers stamps
correlation_id reply_to delivery_mode delivery_info priority body_encoding delivery_tag
[[2,3],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]
array(11) {
  ["ids"]=>
  bool(true)
  ["delivery tag of its own"]=>
  bool(true)
  ["origin"]=>
  bool(true)
  ["lang"]=>
  string(3) "php"
  ["argsrepr"]=>
  string(6) "(2, 3)"
  ["kwargsrepr"]=>
  string(2) "{}"
  ["timelimit"]=>
  array(2) {
    [0]=>
    NULL
    [1]=>
    NULL
  }
  ["delivery_info"]=>
  bool(true)
  ["priority"]=>
  int(0)
  ["delivery_mode"]=>
  int(2)
  ["content"]=>
  array(3) {
    [0]=>
    string(16) "application/json"
    [1]=>
    string(5) "utf-8"
    [2]=>
    string(6) "base64"
  }
}
