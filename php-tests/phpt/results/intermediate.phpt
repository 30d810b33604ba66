--TEST--
get() waits through a state that is not final; it can be read as a message, and stays
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$client = client(['exchange' => fresh('queue')]);
foreach (['PROGRESS' => ['done' => 3], 'STARTED' => ['pid' => 7], 'RETRY' => ['exc_type' => 'X', 'exc_message' => [], 'exc_module' => null]] as $state => $meta) {
    $result = $client->PostTask('proj.add', [2, 3]);
    store($result->getId(), $state, $meta);
    echo "$state: ", json_encode([$result->isReady(), $result->state, $result->failed()]), ' ';
    try {
        $result->get(0.05);
    } catch (CeleryTimeoutException $e) {
        echo 'waited ', $e->getCode(), ' ';
    }
    $message = $client->getAsyncResultMessage('proj.add', $result->getId());
    echo json_encode([$message['complete_result']['status'], $message['complete_result']['result'] == $meta, json_decode($message['body'])->status]), ' ';
    echo stored($result->getId()) ? "kept\n" : "deleted\n";
}
?>
--EXPECT--
PROGRESS: [false,"PENDING",false] waited 4 ["PROGRESS",true,"PROGRESS"] kept
STARTED: [false,"PENDING",false] waited 4 ["STARTED",true,"STARTED"] kept
RETRY: [false,"PENDING",false] waited 4 ["RETRY",true,"RETRY"] kept
