--TEST--
Queue and task names that are empty, of a wrong type or have control characters are refused
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$client = client();
foreach (['', "a\r\nb", "a\0", "a\x06\x16b", "\xff", null, ['x'], str_repeat('x', 300)] as $name) {
    try {
        $client->PostTask($name, []);
        echo "accepted\n";
    } catch (CeleryException $e) {
        echo "refused\n";
    }
}
foreach (["a\r\nb", "a\x06\x163", "\xff", str_repeat('x', 300)] as $queue) {
    try {
        $client->PostTask('proj.echo', [], true, $queue);
        echo "accepted\n";
    } catch (CeleryException $e) {
        echo "refused\n";
    }
}
?>
--EXPECT--
refused
refused
refused
refused
refused
refused
refused
refused
refused
refused
refused
refused
