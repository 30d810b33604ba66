--TEST--
Chains, groups and chords are put together as Python does it, and every change goes through them
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Canvas, Chain, Chord, Group, Signature};

/** Describes a canvas: (a | b) is a chain, {a, b} a group, {a} > b a chord, ! is immutable. */
function text(array $canvas): string
{
    $parts = $canvas['kwargs'];
    $text = match ($canvas['subtask_type']) {
        'chain' => '(' . implode(' | ', array_map('text', $parts['tasks'])) . ')',
        'group' => '{' . implode(', ', array_map('text', $parts['tasks'])) . '}',
        'chord' => '{' . implode(', ', array_map('text', $parts['header'])) . '} > ' . text($parts['body']),
        default => $canvas['task'] . ($canvas['immutable'] ? '!' : '') . ($canvas['args'] ? json_encode($canvas['args']) : ''),
    };
    foreach ($canvas['options'] as $name => $value) {
        $value = str_starts_with($name, 'link') ? implode(' ', array_map('text', $value)) : json_encode($value);
        $text .= " $name:$value";
    }

    return $text;
}

$s = fn (string $task, mixed ...$arguments) => (new Signature($task))->s(...$arguments);
$pair = new Group($s('a'), $s('b'));
$chord = new Chord([$s('a'), $s('b')], $s('c'));
$chain = new Chain($s('a'), $s('b'));
foreach ([
    'upgraded' => new Chain($s('a', 1), $s('b'), $pair, $s('e')),
    'then' => $s('a')->then(new Group($s('b')), $s('c')),
    'after a group' => $pair->then($s('c'), $s('d')),
    'after a chord' => $chord->then($s('d'), $pair),
    'two chords' => $chord->then($chord),
    'nested chains' => new Chain($chain, $chain->link($s('l'))->onError($s('f')), $s('c')),
    'nothing' => new Chain(new Group(), new Group()),
    'linked chain' => $chain->link($s('l'), $s('m'), $s('l')),
    'linked chord' => (new Chord([$s('a'), $chord], $s('d')))->linkError($s('f'))->link($s('l')),
    'linked group' => $pair->linkError($s('f')),
    'arguments of a chain' => (new Chain($pair, $s('c')))->s(1, x: 2),
    'arguments of a group' => $pair->s(1)->immutable()->s(2),
    'arguments of a chord' => $chord->s(1),
    'immutable chain' => $s('x')->then($chain->immutable()),
    'options' => $chain->set(queue: 'q', priority: 3, immutable: true),
    'id of a chord' => $chord->set(taskId: 'the-id'),
    'stamped' => (new Chain($pair->linkError($s('f')), $s('c')))->stamp(tenant: 'acme'),
    'chunks' => $s('a')->chunks((fn () => yield from [[1, 2], [3, 4], [5, 6]])(), 2),
] as $name => $canvas) {
    echo "$name: ", get_class($canvas), ' ', text($canvas->toArray()), "\n";
    $read = Canvas::fromArray(json_decode(json_encode($canvas), true));
    if (get_class($read) !== get_class($canvas) || json_encode($read) !== json_encode($canvas)) {
        echo 'read again: ', json_encode($read), "\n", json_encode($canvas), "\n";
    }
    if (json_encode(unserialize(serialize($canvas))) !== json_encode($canvas)) {
        echo "not serialized\n";
    }
}
echo text($pair->toArray()), ' ', text($chain->toArray()), ' ', text($chord->toArray()), "\n";
var_dump($chord->set(taskId: 'the-id')->id, count($chain), count(new Group()));
foreach ($chain as $index => $step) {
    echo $index, ' ', $step->task, "\n";
}
var_dump($chord->header == $pair, $chord->body->task, json_encode($chord));
foreach ([
    fn () => $pair->link($s('l')),
    fn () => (new Chord($pair, $pair))->link($s('l')),
    fn () => $pair->applyAsync(link: $s('l')),
    fn () => new Chain(),
    fn () => new Chain($s('a'), 'b'),
    fn () => new Chord([1], $s('a')),
    fn () => $s('a')->chunks([], 0),
    fn () => $chain->__construct($s('a')),
    fn () => $chain->delay(),
    fn () => Canvas::fromArray([]),
    fn () => Canvas::fromArray(['task' => 'celery.chain', 'subtask_type' => 'chain']),
    fn () => Canvas::fromArray(['task' => 'celery.chord', 'subtask_type' => 'chord', 'kwargs' => ['header' => []]]),
    fn () => unserialize(str_replace('Celery\\Group', 'Celery\\Chord', serialize($pair))),
    function () use ($s) {
        for ($i = 0, $deep = $s('a'); $i < 60; $i++) {
            $deep = new Group($deep, $s('b'));
        }
        $deep->stamp(x: 1);
    },
] as $wrong) {
    show($wrong);
}
?>
--EXPECT--
upgraded: Celery\Chain (a[1] | b | {a, b} > e)
then: Celery\Chain (a | b | c)
after a group: Celery\Chord {a, b} > (c | d)
after a chord: Celery\Chain ({a, b} > (c | d) | {a, b})
two chords: Celery\Chord {a, b} > (c | {a, b} > c)
nested chains: Celery\Chain (a | b | a link_error:f | b link:l link_error:f | c)
nothing: Celery\Chain ({} | {})
linked chain: Celery\Chain (a | b) link:l m
linked chord: Celery\Chord {a, {a, b} > c link_error:f} > d link_error:f link:l
linked group: Celery\Group {a link_error:f, b link_error:f}
arguments of a chain: Celery\Chain ({a[1], b[1]} > c)
arguments of a group: Celery\Group {a![1], b![1]}
arguments of a chord: Celery\Chord {a[1], b[1]} > c
immutable chain: Celery\Chain (x | a! | b)
options: Celery\Chain (a! | b) queue:"q" priority:3
id of a chord: Celery\Chord {a, b} > c task_id:"the-id"
stamped: Celery\Chain ({a link_error:f stamped_headers:["tenant"] tenant:"acme" stamped_headers:["tenant"] tenant:"acme", b link_error:f stamped_headers:["tenant"] tenant:"acme" stamped_headers:["tenant"] tenant:"acme"} > c stamped_headers:["tenant"] tenant:"acme")
chunks: Celery\Group {celery.starmap!, celery.starmap!}
{a, b} (a | b) {a, b} > c
string(6) "the-id"
int(2)
int(0)
0 a
1 b
bool(true)
string(1) "c"
string(386) "{"task":"celery.chord","args":[],"kwargs":{"kwargs":{},"header":[{"task":"a","args":[],"kwargs":{},"options":{},"subtask_type":null,"immutable":false},{"task":"b","args":[],"kwargs":{},"options":{},"subtask_type":null,"immutable":false}],"body":{"task":"c","args":[],"kwargs":{},"options":{},"subtask_type":null,"immutable":false}},"options":{},"subtask_type":"chord","immutable":false}"
ValueError: A group has no callback of its own: use then(), which waits for all members.
ValueError: A group has no callback of its own: use then(), which waits for all members.
ValueError: A group is not sent with callbacks: use then(), or link its members.
ValueError: Celery\Chain::__construct() expects at least one task.
TypeError: Celery\Chain::__construct(): Argument #2 must be of type Celery\Canvas, string given
ValueError: Celery\Chord::__construct(): Argument #1 ($header) must contain nothing but canvases
ValueError: Celery\Signature::chunks(): Argument #2 ($size) must be greater than or equal to 1
Error: This object was constructed already.
LogicException: This canvas is not bound to a client: make it by $client->signature(), bind() it, or pass it to $client->send().
CeleryException: This is not a signature: it has no task.
CeleryException: This is not a signature: a composite without a list of tasks.
CeleryException: This is not a signature: a chord without a body.
CeleryException: This is not a signature: a chord without a header.
CeleryException: This canvas is nested more than 48 levels deep.
