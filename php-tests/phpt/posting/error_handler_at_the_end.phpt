--TEST--
Pipelined posts refused at the end of a request cause a plain warning of PHP, and no error handler runs
--EXTENSIONS--
celery
--INI--
celery.publish=pipelined
html_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
set_error_handler(function (int $level, string $message) {
    echo "handler: $message\n";
    throw new ErrorException($message);
});
$queue = fresh('queue');
redis()->set($queue, 'a string, not a list');
$client = client(['exchange' => $queue]);
$client->PostTask('proj.echo', [1], false, 'celery', ['id' => 'first']);
echo "end\n";
?>
--EXPECTF--
end

Warning: %SThese tasks were not queued: first: %sWRONGTYPE%s
