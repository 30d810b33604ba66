--TEST--
celery.key_prefix begins every key
--EXTENSIONS--
celery
--INI--
celery.key_prefix=blog:
--FILE--
<?php
require __DIR__ . '/../support.inc';
var_dump(ini_set('celery.key_prefix', 'mine:'));
$queue = fresh('queue');
client(['exchange' => $queue])->PostTask('proj.echo', [], false);
var_dump(message($queue), message("blog:$queue")['headers']['task'], redis()->exists("blog:_kombu.binding.$queue"));
?>
--EXPECT--
bool(false)
NULL
string(9) "proj.echo"
int(1)
