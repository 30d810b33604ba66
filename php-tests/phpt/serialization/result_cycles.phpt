--TEST--
Cycles through a result are collected, and a result that is still in use is not
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends AsyncResult
{
    public mixed $extra = null;
}
$document = '{"status":"SUCCESS","task_id":"x","result":{"a":{"b":1}}}';
$make = fn (string $class = 'AsyncResult') => unserialize('O:' . strlen($class) . ":\"$class\":3:{s:7:\"version\";i:1;s:2:\"id\";s:1:\"x\";s:6:\"result\";s:"
    . strlen($document) . ":\"$document\";}");
$cycles = [
    'none' => function () use ($make) {
        $make()->getResult();
    },
    'result' => function () use ($make) {
        $result = $make();
        $result->getResult()->owner = $result;
    },
    'deeper' => function () use ($make) {
        $result = $make();
        $result->getResult()->a->list = [1, [$result]];
    },
    'two' => function () use ($make) {
        [$one, $two] = [$make(), $make()];
        $one->getResult()->other = $two;
        $two->getResult()->other = $one;
    },
    'clone' => function () use ($make) {
        $result = $make();
        $result->getResult()->owner = $result;
        $copy = clone $result;
        $copy->getResult()->copy = $copy;
    },
    'subclass' => function () use ($make) {
        $result = $make('Mine');
        $result->extra = [$result->getResult()];
        $result->getResult()->owner = $result;
    },
    'dynamic' => function () use ($make) {
        $result = $make();
        @$result->note = $result->getResult();
        $result->getResult()->owner = $result;
    },
    'awaited' => function () {
        $result = new AsyncResult($GLOBALS['id'], arguments());
        $result->get(5)->owner = $result;
    },
];
$id = fresh('id');
redis()->setex("celery-task-meta-$id", 60, $document);
ini_set('celery.keep_results', '1');
foreach ($cycles as $name => $cycle) {
    $cycle();
    gc_collect_cycles();
    $before = memory_get_usage();
    for ($i = 0; $i < 200; ++$i) {
        $cycle();
    }
    $collected = gc_collect_cycles();
    echo $name, ': ', $collected > 0 ? 'collected' : 'nothing to collect', memory_get_usage() - $before < 20000 ? '' : ' and leaked', "\n";
}
$kept = $make();
$kept->getResult()->owner = $kept;
$copy = clone $kept;
gc_collect_cycles();
echo $kept->getResult()->a->b, ' ', $kept->getResult() === $copy->getResult() ? 'one object' : 'two', "\n";
unset($kept);
gc_collect_cycles();
echo $copy->getResult()->a->b, ' ', $copy->getResult()->owner->getResult()->a->b, "\n";
$value = $copy->getResult();
unset($copy);
gc_collect_cycles();
echo $value->a->b, "\n";
?>
--EXPECT--
none: nothing to collect
result: collected
deeper: collected
two: collected
clone: collected
subclass: collected
dynamic: collected
awaited: collected
1 one object
1 1
1
