--TEST--
A list holds positional arguments, any other array holds keyword arguments
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$holes = [1, 2, 3];
unset($holes[1]);
foreach ([[], [1, [2, ['a' => 3]]], ['x' => 1, 'y' => []], [1 => 'a', 2 => 'b'], [1, 'x' => 2], $holes, [[]], [new stdClass()]] as $args) {
    $client->PostTask('proj.echo', $args, false);
    [$positional, $keyword] = body(message($queue));
    echo json_encode($positional), ' ', json_encode($keyword), "\n";
}
?>
--EXPECT--
[] {}
[1,[2,{"a":3}]] {}
[] {"x":1,"y":[]}
[] {"1":"a","2":"b"}
[] {"0":1,"x":2}
[] {"0":1,"2":3}
[[]] {}
[{}] {}
