--TEST--
A posted message has the fields and types of a message captured from Python Celery
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$path = glob(__DIR__ . '/../../../crates/protocol/tests/fixtures/messages-v2/redis/delay_args.json')
    ?: glob(__DIR__ . '/../../../crates/protocol/tests/fixtures/messages-v2/redis/*.json');
/** Returns the first envelope anywhere in a fixture. */
function envelope(mixed $value): ?array
{
    if (is_string($value) && str_contains($value, '"properties"')) {
        $value = json_decode($value, true);
    }
    if (!is_array($value)) {
        return null;
    }
    if (isset($value['headers'], $value['properties'], $value['body'])) {
        return $value;
    }
    foreach ($value as $inner) {
        if ($found = envelope($inner)) {
            return $found;
        }
    }
    return null;
}
$python = envelope(json_decode(file_get_contents($path[0]), true));
$queue = fresh('queue');
client(['exchange' => $queue])->PostTask('proj.add', [2, 3]);
$ours = message($queue);
foreach (['headers', 'properties'] as $part) {
    $missing = array_diff(array_keys($python[$part]), array_keys($ours[$part]));
    $more = array_diff(array_keys($ours[$part]), array_keys($python[$part]));
    echo "$part: missing [", implode(' ', $missing), '], more [', implode(' ', $more), "]\n";
    foreach (array_intersect_key($python[$part], $ours[$part]) as $name => $value) {
        // Python's delay() knows the task's default; we do not, and null leaves the choice to the
        // worker.
        if ($name !== 'ignore_result' && gettype($value) !== gettype($ours[$part][$name])) {
            echo "$name is ", gettype($ours[$part][$name]), ', in Python ', gettype($value), "\n";
        }
    }
}
?>
--EXPECT--
headers: missing [], more []
properties: missing [], more []
