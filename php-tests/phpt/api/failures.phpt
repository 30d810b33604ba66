--TEST--
A remote failure is an exception with type, module, arguments, traceback and causes; its class depends on state, module and type
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

$client = new Celery\Client(redis_url());

/** Stores a failure and prints what get() throws. */
function fails(string $status, mixed $result, ?string $traceback = null): ?Throwable
{
    global $client;
    $id = fresh('id');
    store($id, $status, $result, $traceback);
    try {
        $client->result($id)->get();
        echo "nothing thrown\n";
    } catch (Celery\TaskException $e) {
        $short = (new ReflectionClass($e))->getShortName();
        echo $short, ' ', json_encode([$e->getMessage(), $e->getCode(), $e->type(), $e->module(), $e->arguments(), $e->taskId() === $id]), "\n";

        return $e;
    }

    return null;
}
$error = fn (string $type, array $args, ?string $module = 'builtins') => ['exc_type' => $type, 'exc_message' => $args, 'exc_module' => $module];

fails('FAILURE', $error('ValueError', ['boom']));
fails('FAILURE', $error('MyError', [42, ['why' => 'because']], 'proj.errors'));
fails('FAILURE', $error('KeyError', ['k']));
fails('FAILURE', $error('Empty', [], null));
fails('FAILURE', $error('NotRegistered', ['proj.gone'], 'celery.exceptions'));
fails('FAILURE', $error('TimeLimitExceeded', [30], 'billiard.exceptions'));
fails('FAILURE', $error('SoftTimeLimitExceeded', [], 'billiard.exceptions'));
fails('FAILURE', $error('WorkerLostError', ['signal 9'], 'billiard.exceptions'));
fails('FAILURE', $error('MaxRetriesExceededError', ["Can't retry"], 'celery.exceptions'));
fails('FAILURE', $error('NotRegistered', ['of another module'], 'proj.errors'));
var_dump(fails('FAILURE', $error('ChordError', ['Dependency 1234 raised ValueError(1)'], 'celery.exceptions'))->dependencyId());
var_dump(fails('REVOKED', $error('TaskRevokedError', ['expired'], 'celery.exceptions'))->reason());
var_dump(fails('REVOKED', null)->reason());
// What other programs may have stored.
fails('FAILURE', 'a text');
fails('FAILURE', null);
fails('FAILURE', ['exc_type' => 'OldError', 'exc_message' => 'a text']);

echo "-- causes\n";
$text = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    {}['k']\nKeyError: 'k'\n\n"
    . "The above exception was the direct cause of the following exception:\n\n"
    . "Traceback (most recent call last):\n  File \"a.py\", line 2, in f\nproj.errors.Middle: two\nlines\n\n"
    . "During handling of the above exception, another exception occurred:\n\n"
    . "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\nValueError: boom\n";
$e = fails('FAILURE', $error('ValueError', ['boom']), $text);
var_dump($e->traceback() === $text);
for ($cause = $e->getPrevious(); $cause; $cause = $cause->getPrevious()) {
    echo get_class($cause), ' ', json_encode([$cause->type(), $cause->module(), $cause->getMessage(), $cause->arguments()]), "\n";
}
var_dump(str_starts_with($e->getPrevious()->traceback(), 'Traceback'));
// A text that is not understood, or belongs to another exception, has no causes.
var_dump(fails('FAILURE', $error('TypeError', ['x']), $text)->getPrevious());
var_dump(fails('FAILURE', $error('ValueError', ['x']), 'panicked at line 1')->getPrevious());

echo "-- as a value\n";
$id = fresh('id');
store($id, 'RETRY', $error('OSError', [5, 'io failed']), 'the traceback');
$meta = $client->result($id)->meta();
var_dump($meta->state, get_class($meta->result), $meta->result->getMessage(), $meta->traceback, $meta->ready());
store($id, 'FAILURE', $error('ValueError', ['boom']));
$kept = $client->result($id)->get(propagate: false);
var_dump(get_class($kept), $kept->getMessage());
// Each call throws an exception of its own.
$result = $client->result($id);
var_dump($result->get(propagate: false) === $result->get(propagate: false));

echo "-- what is not a result\n";
redis()->set("celery-task-meta-$id", "\x80\x04K\x05.");
show(fn () => $client->result($id)->get());
redis()->set("celery-task-meta-$id", '[1, 2]');
show(fn () => $client->result($id)->ready());
var_dump(redis()->get("celery-task-meta-$id"));
?>
--EXPECTF--
TaskFailed ["boom",0,"ValueError","builtins",["boom"],true]
TaskFailed ["(42, {'why': 'because'})",0,"MyError","proj.errors",[42,{"why":"because"}],true]
TaskFailed ["'k'",0,"KeyError","builtins",["k"],true]
TaskFailed ["",0,"Empty",null,[],true]
NotRegistered ["proj.gone",0,"NotRegistered","celery.exceptions",["proj.gone"],true]
TimeLimitExceeded ["30",0,"TimeLimitExceeded","billiard.exceptions",[30],true]
SoftTimeLimitExceeded ["",0,"SoftTimeLimitExceeded","billiard.exceptions",[],true]
WorkerLost ["signal 9",0,"WorkerLostError","billiard.exceptions",["signal 9"],true]
MaxRetriesExceeded ["Can't retry",0,"MaxRetriesExceededError","celery.exceptions",["Can't retry"],true]
TaskFailed ["of another module",0,"NotRegistered","proj.errors",["of another module"],true]
ChordFailed ["Dependency 1234 raised ValueError(1)",0,"ChordError","celery.exceptions",["Dependency 1234 raised ValueError(1)"],true]
string(4) "1234"
TaskRevoked ["expired",0,"TaskRevokedError","celery.exceptions",["expired"],true]
string(7) "expired"
TaskRevoked ["revoked",0,"TaskRevokedError","celery.exceptions",["revoked"],true]
string(7) "revoked"
TaskFailed ["a text",0,"Exception",null,["a text"],true]
TaskFailed ["FAILURE",0,"Exception",null,["FAILURE"],true]
TaskFailed ["a text",0,"OldError",null,["a text"],true]
-- causes
TaskFailed ["boom",0,"ValueError","builtins",["boom"],true]
bool(true)
Celery\TaskFailed ["Middle","proj.errors","two\nlines",[]]
Celery\TaskFailed ["KeyError","builtins","'k'",[]]
bool(true)
TaskFailed ["x",0,"TypeError","builtins",["x"],true]
NULL
TaskFailed ["x",0,"ValueError","builtins",["x"],true]
NULL
-- as a value
string(5) "RETRY"
string(17) "Celery\TaskFailed"
string(16) "(5, 'io failed')"
string(13) "the traceback"
bool(false)
string(17) "Celery\TaskFailed"
string(4) "boom"
bool(false)
-- what is not a result
Celery\Unreadable: The stored result of task id-%s cannot be read: the stored result is a pickle, which is refused; set result_serializer to json.
Celery\Unreadable: The stored result of task id-%s cannot be read: not a result document: %s
string(6) "[1, 2]"
