--TEST--
Rows, texts and signatures that an array has many times are bounded before they fill the memory
--EXTENSIONS--
celery
--INI--
memory_limit=32M
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, Group, ResultSet};

/** Returns the bytes that this process has had in memory at most. */
function most(): int
{
    preg_match('/^VmHWM:\s+(\d+) kB/m', file_get_contents('/proc/self/status'), $found);

    return $found[1] * 1024;
}
$queue = fresh('queue');
$old = client(['exchange' => $queue]);
$new = new Client(redis_url(), queue: $queue);
$text = str_repeat('x', 1 << 20);
$texts = array_fill(0, 300, $text);
$add = $new->signature('proj.add');
$forever = function (mixed $value) {
    for (;;) {
        yield $value;
    }
};

// In PHP each array takes little more than 16 bytes an element.
show(fn () => $old->PostTasks(array_fill(0, 1_000_000, ['proj.add', [1, 2]]), false));
show(fn () => $old->PostTasks(array_fill(0, 300, ['proj.add', [$text]])));
show(fn () => $old->PostTasks([['proj.add', $texts]]));
show(fn () => $old->PostTask('proj.add', $texts));
show(fn () => $old->PostTask('proj.add', ['x' => [$texts]]));
show(fn () => $old->PostTask('proj.add', [], true, $queue, ['chain' => $texts]));
show(fn () => $new->sendTasks(array_fill(0, 300_000, $add)));
show(fn () => $new->sendTask('proj.add', $texts));
show(fn () => $new->sendTask('proj.add', kwargs: ['texts' => $texts, 'rate' => 1.5]));
show(fn () => $new->sendTask('proj.add', [1.5, $texts]));
show(fn () => $new->send(new Group(...array_fill(0, 300, $add->s($text)))));
show(fn () => $add->map($forever(1)));
show(fn () => new ResultSet($forever($new->result('a'))));
show(fn () => $new->results($forever($new->result('a'))));

// With more memory some of them can be sent.
ini_set('memory_limit', '700M');
var_dump($old->PostTask('proj.add', array_slice($texts, 0, 40), false), redis()->lLen($queue));
redis()->del($queue);
echo most() < 400 << 20 ? "bounded\n" : most() . " bytes\n";
?>
--EXPECT--
CeleryException: No task was sent: the messages take more than PHP's memory_limit. Post the tasks in parts.
CeleryException: No task was sent: the messages take more than PHP's memory_limit. Post the tasks in parts.
CeleryException: No task was sent: tasks[0] (proj.add): the arguments take more than PHP's memory_limit, as JSON.
CeleryException: The task was not sent: the arguments take more than PHP's memory_limit, as JSON.
CeleryException: The task was not sent: the arguments take more than PHP's memory_limit, as JSON.
CeleryException: The task was not sent: the option "chain" takes more than PHP's memory_limit, as JSON.
CeleryException: The task was not sent: the messages take more than PHP's memory_limit. Send the tasks in parts.
Celery\Unencodable: The task was not sent: args is too large: as JSON, the data takes more than PHP's memory_limit.
Celery\Unencodable: The task was not sent: kwargs is too large: as JSON, the data takes more than PHP's memory_limit.
Celery\Unencodable: The task was not sent: args[1][32] is too large: as JSON, the data takes more than PHP's memory_limit.
Celery\Unencodable: The task was not sent: kwargs.tasks[31] is too large: as JSON, the data takes more than PHP's memory_limit.
CeleryException: The elements of the iterable take more than PHP's memory_limit.
CeleryException: The elements of the iterable take more than PHP's memory_limit.
CeleryException: The elements of the iterable take more than PHP's memory_limit.
bool(true)
int(1)
bounded
