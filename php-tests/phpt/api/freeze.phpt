--TEST--
freeze() gives every task of a canvas its id, and changes nothing else
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Canvas, Chain, Chord, Group, Signature};

$s = fn (string $task, mixed ...$arguments) => (new Signature($task))->s(...$arguments);
$is_id = fn (?string $id) => preg_match('/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/', (string) $id) === 1;

/** Returns the ids of the tasks in Celery's form. */
function ids(array $canvas): array
{
    $parts = $canvas['kwargs'];
    $own = [$canvas['options']['task_id'] ?? null];
    $tasks = match ($canvas['subtask_type']) {
        'chain', 'group' => $parts['tasks'],
        'chord' => [...$parts['header'], $parts['body']],
        default => [],
    };

    return [...($tasks === [] ? $own : []), ...array_merge(...array_map('ids', $tasks))];
}

$object = new stdClass();
$canvases = [
    'signature' => $s('a', $object),
    'chain' => new Chain($s('a', $object), $s('b'), $s('c')),
    'group' => new Group($s('a'), $s('b', [])),
    'chord' => new Chord([$s('a', 1.0), $s('b')], $s('c')),
    'upgraded' => new Chain($s('a'), new Group($s('b'), $s('c')), $s('d'), $s('e')),
    'nested' => new Chord([new Chain($s('a'), new Group($s('b'), $s('c'))), new Chord([$s('d')], $s('e'))], new Chain($s('f'), $s('g'))),
];
foreach ($canvases as $name => $canvas) {
    $frozen = $canvas->freeze();
    $ids = ids($frozen->toArray());
    $again = $frozen->freeze();
    printf(
        "%s: %d ids, all given %s, all different %s, frozen again %s, id %s, id of the original %s, read again %s\n",
        $name,
        count($ids),
        var_export(array_filter($ids, $is_id) === $ids, true),
        var_export(count(array_unique($ids)) === count($ids), true),
        var_export($again == $frozen, true),
        var_export($is_id($frozen->id), true),
        var_export($canvas->id, true),
        var_export(Canvas::fromArray($frozen->toArray())->id === $frozen->id, true),
    );
}
// Arguments are not touched: an object stays the object.
var_dump($canvases['signature']->freeze()->args[0] === $object, $canvases['chain']->freeze()->tasks[0]->args[0] === $object);
// An id that is given stays; that of a chain is its last task's, that of a chord its body's.
var_dump($s('a')->set(taskId: 'mine')->freeze()->id);
var_dump((new Chain($s('a'), $s('b')->set(taskId: 'last')))->freeze()->id);
var_dump((new Chord([$s('a')], $s('b')->set(taskId: 'body')))->freeze()->id);
var_dump((new Chord([$s('a')], $s('b')))->set(taskId: 'body')->freeze()->id);
$chord = $canvases['chord']->freeze();
var_dump($chord->id === $chord->body->id, $chord->header->id === $chord->options['task_id'], $chord->header->id !== $chord->id);
$chain = $canvases['chain']->freeze();
var_dump($chain->id === $chain->tasks[2]->id);
// A group in a group is unrolled, as Python does it.
echo count((new Group($s('a'), new Group($s('b'), $s('c'))))->freeze()), "\n";
?>
--EXPECT--
signature: 1 ids, all given true, all different true, frozen again true, id true, id of the original NULL, read again true
chain: 3 ids, all given true, all different true, frozen again true, id true, id of the original NULL, read again true
group: 2 ids, all given true, all different true, frozen again true, id true, id of the original NULL, read again true
chord: 3 ids, all given true, all different true, frozen again true, id true, id of the original NULL, read again true
upgraded: 5 ids, all given true, all different true, frozen again true, id true, id of the original NULL, read again true
nested: 7 ids, all given true, all different true, frozen again true, id true, id of the original NULL, read again true
bool(true)
bool(true)
string(4) "mine"
string(4) "last"
string(4) "body"
string(4) "body"
bool(true)
bool(true)
bool(true)
bool(true)
3
