--TEST--
Results that Python stored as msgpack, YAML or compressed are read; pickle is refused and stays
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach (['msgpack', 'yaml', 'pickle'] as $serializer) {
    $cases["serializer_$serializer"] = ['success', 'failure'];
}
$cases['result_compression_gzip'] = ['success', 'failure'];
foreach ($cases as $name => $outcomes) {
    foreach ($outcomes as $outcome) {
        $fixture = json_decode(file_get_contents(__DIR__ . "/../../../crates/protocol/tests/fixtures/results/redis-variants/{$name}_$outcome.json"), true);
        $stored = current($fixture['redis_result_keys']);
        $id = fresh('id');
        redis()->setex("celery-task-meta-$id", 60, $stored['value'] ?? base64_decode($stored['value_b64'], true));
        echo "$name $outcome: ";
        try {
            $result = new AsyncResult($id, arguments());
            $value = $result->get(5);
            echo $result->getStatus(), ' ', json_encode($value), stored($id) ? ", stays\n" : "\n";
        } catch (CeleryException $e) {
            echo preg_replace('/task \S+/', 'task', $e->getMessage()), stored($id) ? " It stays.\n" : "\n";
        }
    }
}
?>
--EXPECTF--
serializer_msgpack success: SUCCESS 5
serializer_msgpack failure: FAILURE {%S"exc_type":"ValueError"%S}
serializer_yaml success: SUCCESS 5
serializer_yaml failure: FAILURE {%S"exc_type":"ValueError"%S}
serializer_pickle success: %sIt stays.
serializer_pickle failure: %sIt stays.
result_compression_gzip success: SUCCESS 5
result_compression_gzip failure: FAILURE {%S"exc_type":"ValueError"%S}
