--TEST--
A value that JSON cannot express is refused with its place, and nothing is sent
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
enum Pure
{
    case Red;
}
class Broken implements JsonSerializable
{
    public function jsonSerialize(): mixed
    {
        return ["\xff"];
    }
}
$loop = [1];
$loop[] = &$loop;
$object = new stdClass();
$object->next = new stdClass();
$object->next->back = $object;
$deep = [];
for ($i = 0; $i < 600; ++$i) {
    $deep = [$deep];
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
foreach ([
    ["\xff"], ['ok', ['name' => "abc\xc3"]], ['x' => ['y' => (object) ['z' => "\xff"]]], ["\xff" => 1], [["k\xff" => 1]],
    [INF], [-INF], [1, [2, NAN]], [STDIN], [['r' => [STDIN]]], [Pure::Red], [$object], [new Broken()], ['a' => ['b' => new Broken()]],
] as $args) {
    show(fn () => $client->PostTask('proj.echo', $args));
}
show(fn () => $client->PostTask('proj.echo', $loop));
try {
    $client->PostTask('proj.echo', $deep);
} catch (CeleryException $e) {
    echo preg_replace('/(\[0\])+(\[0?)?…/', '[0]…', $e->getMessage()), "\n";
}
show(fn () => $client->PostTask('proj.echo', [1], true, 'celery', ['trace' => ['a' => "\xff"]]));
var_dump(redis()->exists($queue));
?>
--EXPECTF--
CeleryException: The task was not sent: $args[0] is not valid UTF-8 (at byte 0).
CeleryException: The task was not sent: $args[1]["name"] is not valid UTF-8 (at byte 3).
CeleryException: The task was not sent: $args["x"]["y"]->z is not valid UTF-8 (at byte 0).
CeleryException: The task was not sent: the key of $args["%s"] is not valid UTF-8.
CeleryException: The task was not sent: the key of $args[0]["k%s"] is not valid UTF-8.
CeleryException: The task was not sent: $args[0] is INF, which JSON cannot express.
CeleryException: The task was not sent: $args[0] is INF, which JSON cannot express.
CeleryException: The task was not sent: $args[1][1] is NAN, which JSON cannot express.
CeleryException: The task was not sent: $args[0] is a resource, which cannot be sent.
CeleryException: The task was not sent: $args[0]["r"][0] is a resource, which cannot be sent.
CeleryException: The task was not sent: $args[0] is the case of an enum without values (Pure), which JSON cannot express.
CeleryException: The task was not sent: $args[0]->next->back contains itself.
CeleryException: The task was not sent: what jsonSerialize() of Broken returned for $args[0] cannot be encoded.
CeleryException: The task was not sent: what jsonSerialize() of Broken returned for $args["a"]["b"] cannot be encoded.
CeleryException: The task was not sent: $args[1]%S contains itself.
The task was not sent: $args[0]… is nested deeper than 512 levels.
CeleryException: The task was not sent: option "trace"["a"] is not valid UTF-8 (at byte 0).
int(0)
