--TEST--
Result documents captured from Python Celery are read
--EXTENSIONS--
celery
--SKIPIF--
<?php
if (!glob(__DIR__ . '/../../../crates/protocol/tests/fixtures/results/redis/*.json')) {
    die('skip no fixtures');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
/** Returns every result document in a fixture. */
function documents(mixed $value): Generator
{
    if (is_string($value) && str_contains($value, '"status"') && is_array($inner = json_decode($value, true))) {
        yield from isset($inner['status'], $inner['task_id']) ? [$value] : [];
    } elseif (is_array($value)) {
        foreach ($value as $inner) {
            yield from documents($inner);
        }
    }
}
$seen = [];
$files = 0;
foreach (glob(__DIR__ . '/../../../crates/protocol/tests/fixtures/results/redis/*.json') as $file) {
    foreach (documents(json_decode(file_get_contents($file), true)) as $text) {
        $expected = json_decode($text);
        $id = fresh('id');
        redis()->setex("celery-task-meta-$id", 60, $text);
        $result = new AsyncResult($id, arguments());
        $final = in_array($expected->status, ['SUCCESS', 'FAILURE', 'REVOKED'], true);
        if ($result->isReady() !== $final) {
            echo basename($file), ": wrong readiness\n";
        } elseif ($final && ($result->getStatus() !== $expected->status || $result->getResult() != $expected->result || $result->getTraceback() !== $expected->traceback)) {
            echo basename($file), ": differs\n";
        }
        ++$files;
    }
}
echo $files > 0 ? "read\n" : "no documents found\n";
?>
--EXPECT--
read
