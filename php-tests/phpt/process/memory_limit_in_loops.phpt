--TEST--
When memory runs out while many values are made, PHP's fatal error appears once, without an exception
--EXTENSIONS--
celery
pcntl
--INI--
display_errors=1
log_errors=0
html_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends AsyncResult
{
    public function getResult()
    {
        return [parent::getResult(), $this];
    }
}
// The text has 600 kB; each {} in it takes a hundred times as much of PHP's memory.
$result = '[' . str_repeat('{},', 200000) . '{}]';
$GLOBALS['id'] = fresh('id');
redis()->setex("celery-task-meta-{$GLOBALS['id']}", 60, "{\"status\":\"SUCCESS\",\"task_id\":\"x\",\"result\":$result}");
$stored = unserialize('O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:1:"x";s:6:"result";' . serialize("{\"status\":\"SUCCESS\",\"task_id\":\"x\",\"result\":$result}") . '}');
unset($result);
$wrong = fresh('wrong');
redis()->set($wrong, 'a string, not a list');
$read = fn (string $class = 'AsyncResult') => new $class($GLOBALS['id'], arguments());
$calls = [
    'results of PostTasks' => [4, fn () => client(['exchange' => fresh('queue')])->PostTasks(array_fill(0, 14000, ['t', ['x']]))],
    'ids that were not confirmed' => [4, fn () => client(['exchange' => $wrong])->PostTasks(array_fill(0, 14000, ['t', ['x']]))],
    'isReady' => [8, fn () => $read()->isReady()],
    'get' => [8, fn () => $read()->get(5)],
    'get of a subclass' => [8, fn () => $read('Mine')->get(5)],
    'result' => [8, fn () => $read()->result],
    'body' => [16, fn () => $stored->body],
    'complete_result' => [4, fn () => $stored->complete_result],
    'getResult' => [12, fn () => $stored->getResult()],
    'getAsyncResultMessage' => [8, fn () => client()->getAsyncResultMessage('t', $GLOBALS['id'])],
    'serialize' => [4, fn () => array_map(fn () => serialize($stored), range(1, 20))],
];
foreach ($calls as $what => [$megabytes, $call]) {
    $child = pcntl_fork();
    if ($child === 0) {
        register_shutdown_function(function () use ($what) {
            ini_set('memory_limit', '512M');
            $queue = fresh('queue');
            client()->PostTask('t', [1], false, $queue);
            echo "$what: ", redis()->lLen($queue), " posted at the end\n";
        });
        ini_set('memory_limit', "{$megabytes}M");
        try {
            $call();
        } catch (Throwable $thrown) {
            echo 'instead: ', get_class($thrown), "\n";
        }
        exit("never\n");
    }
    pcntl_waitpid($child, $status);
    echo pcntl_wifexited($status) ? pcntl_wexitstatus($status) : 'killed', "\n";
}
var_dump(stored($GLOBALS['id']));
?>
--EXPECTF--
Fatal error: Allowed memory size of %d bytes exhausted %s
results of PostTasks: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
ids that were not confirmed: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
isReady: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
get: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
get of a subclass: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
result: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
body: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
complete_result: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
getResult: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
getAsyncResultMessage: 1 posted at the end
255

Fatal error: Allowed memory size of %d bytes exhausted %s
serialize: 1 posted at the end
255
bool(true)
