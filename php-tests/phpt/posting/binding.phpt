--TEST--
The first post to a queue writes its binding into both of kombu's sets
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
client(['exchange' => $queue])->PostTask('proj.echo', [], false);
foreach (['_kombu.binding.', '_kombu.binding_permanent.'] as $set) {
    var_dump(array_map(fn ($member) => $member === "$queue\x06\x16\x06\x16$queue", redis()->sMembers($set . $queue)));
}
?>
--EXPECT--
array(1) {
  [0]=>
  bool(true)
}
array(1) {
  [0]=>
  bool(true)
}
