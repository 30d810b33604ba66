--TEST--
Reading a final result deletes it; celery.keep_results=1 and Celery\Celery keep it
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
foreach (['0' => $client, '1' => $client, 'new' => new Celery\Celery('127.0.0.1', null, null, 0, $queue, port: redis_port(), connector: 'redis')] as $keep => $client) {
    ini_set('celery.keep_results', $keep === 1 ? '1' : '0');
    foreach (['isReady', 'get'] as $method) {
        $result = $client->PostTask('proj.add', [2, 3]);
        store($result->getId(), 'SUCCESS', 5);
        $result->$method();
        echo "$keep $method: ", stored($result->getId()) ? 'kept' : 'deleted', ', then ', json_encode([$result->isReady(), $result->getResult()]), "\n";
    }
}
?>
--EXPECT--
0 isReady: deleted, then [true,5]
0 get: deleted, then [true,5]
1 isReady: kept, then [true,5]
1 get: kept, then [true,5]
new isReady: kept, then [true,5]
new get: kept, then [true,5]
