--TEST--
The exceptions of the API for new code: parents, constructor, and what they know
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

show_parents();

class Own extends Celery\TaskRevoked
{
}

function show_parents(): void
{
    $parents = [
        'TaskException', 'TaskFailed', 'NotRegistered', 'TimeLimitExceeded', 'SoftTimeLimitExceeded', 'WorkerLost',
        'MaxRetriesExceeded', 'ChordFailed', 'TaskRevoked', 'ResultTimeout', 'PublishFailed', 'CircuitOpen', 'Unencodable',
        'Unreadable', 'InvalidConfiguration',
    ];
    foreach ($parents as $name) {
        echo $name, ' < ', get_parent_class("Celery\\$name"), "\n";
    }
}

$failed = new Celery\ChordFailed('Dependency 9ad2 raised ValueError(1)', 'id', 'ChordError', null, [1], 'Traceback', new LogicException('cause'));
var_dump($failed->dependencyId(), $failed->taskId(), $failed->type(), $failed->module(), $failed->traceback(), $failed->getPrevious()->getMessage());
echo json_encode($failed->arguments()), "\n";
$default = new Celery\TaskFailed();
echo json_encode([$default->getMessage(), $default->taskId(), $default->type(), $default->module(), $default->arguments(), $default->traceback()]), "\n";
var_dump((new Celery\ChordFailed('x'))->dependencyId());
foreach (['expired', 'terminated', 'revoked', ''] as $reason) {
    echo (new Own($reason))->reason(), ' ', (new Own(arguments: [$reason]))->reason(), "\n";
}
var_dump((new Celery\ResultTimeout('late'))->pending(), (new Celery\CircuitOpen())->retryAfter(), (new Celery\Unencodable())->path(), (new Celery\PublishFailed())->keys());
show(fn () => new Celery\TaskException());
show(fn () => new Celery\TaskFailed(taskId: []));
$again = unserialize(serialize(new Celery\NotRegistered('gone', 'id')));
echo get_class($again), ': ', $again->getMessage(), ' ', $again->taskId(), "\n";
?>
--EXPECT--
TaskException < CeleryException
TaskFailed < Celery\TaskException
NotRegistered < Celery\TaskFailed
TimeLimitExceeded < Celery\TaskFailed
SoftTimeLimitExceeded < Celery\TaskFailed
WorkerLost < Celery\TaskFailed
MaxRetriesExceeded < Celery\TaskFailed
ChordFailed < Celery\TaskFailed
TaskRevoked < Celery\TaskException
ResultTimeout < CeleryTimeoutException
PublishFailed < CeleryPublishException
CircuitOpen < CeleryConnectionException
Unencodable < CeleryException
Unreadable < CeleryException
InvalidConfiguration < CeleryException
string(4) "9ad2"
string(2) "id"
string(10) "ChordError"
NULL
string(9) "Traceback"
string(5) "cause"
[1]
["","test","Exception","builtins",[],null]
NULL
expired expired
terminated terminated
revoked revoked
revoked revoked
array(0) {
}
float(0)
string(0) ""
array(0) {
}
Error: Cannot instantiate abstract class Celery\TaskException
TypeError: Celery\TaskException::__construct(): Argument #2 ($taskId) must be of type string, array given
Celery\NotRegistered: gone id
