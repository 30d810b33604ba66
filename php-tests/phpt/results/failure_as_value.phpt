--TEST--
The error of a failed task is a value in both families, with any $propagate, as in celery-php 2.1 and 3.0
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$failure = ['exc_type' => 'ValueError', 'exc_message' => ['no such row'], 'exc_module' => 'builtins'];
$queue = fresh('queue');
$clients = [
    client(['exchange' => $queue]),
    new CeleryAdvanced(arguments(['exchange' => $queue])),
    new Celery\Celery('127.0.0.1', null, null, 0, $queue, port: redis_port(), connector: 'redis'),
    new Celery\CeleryAdvanced(arguments(['exchange' => $queue])),
    new class(...array_values(arguments(['exchange' => $queue]))) extends Celery\Celery {
    },
];
foreach ($clients as $client) {
    ini_set('celery.keep_results', '1');
    $result = $client->PostTask('proj.fail', []);
    store($result->getId(), 'FAILURE', $failure, "Traceback\nValueError: no such row\n");
    foreach ([[5], [5, true], [5, false], [5, 1], [0]] as $arguments) {
        echo $result->get(...$arguments)->exc_type, ' ';
    }
    echo $result->wait(5)->exc_type, ' ', $result->result->exc_message[0], ' ', $result->getStatus(), ' ',
        json_encode([$result->failed(), $result->isSuccess(), $result->successful()]), ' ', strtok($result->getTraceback(), "\n"), "\n";
}
foreach ([
    ['REVOKED', ['exc_type' => 'TaskRevokedError', 'exc_message' => ['revoked'], 'exc_module' => 'celery.exceptions']],
    ['FAILURE', ['exc_type' => 'Mine', 'exc_message' => ['a', 7], 'exc_module' => 'proj']],
    ['FAILURE', 'text of a worker that is not Python'],
    ['FAILURE', null],
] as [$status, $error]) {
    $result = $clients[2]->PostTask('proj.fail', []);
    store($result->getId(), $status, $error);
    $value = $result->get(5);
    echo json_encode($value), ' ', $result->getStatus(), ' ', json_encode($result->isSuccess()), "\n";
}
// This is the first example of the README.
$value = $result->get();
echo $result->isSuccess() ? $value : $result->getTraceback(), "\n";
?>
--EXPECT--
ValueError ValueError ValueError ValueError ValueError ValueError no such row FAILURE [true,false,false] Traceback
ValueError ValueError ValueError ValueError ValueError ValueError no such row FAILURE [true,false,false] Traceback
ValueError ValueError ValueError ValueError ValueError ValueError no such row FAILURE [true,false,false] Traceback
ValueError ValueError ValueError ValueError ValueError ValueError no such row FAILURE [true,false,false] Traceback
ValueError ValueError ValueError ValueError ValueError ValueError no such row FAILURE [true,false,false] Traceback
{"exc_type":"TaskRevokedError","exc_message":["revoked"],"exc_module":"celery.exceptions"} REVOKED false
{"exc_type":"Mine","exc_message":["a",7],"exc_module":"proj"} FAILURE false
"text of a worker that is not Python" FAILURE false
null FAILURE false
