--TEST--
After a fatal error or an exception while an argument is converted, the call runs no more PHP code
--EXTENSIONS--
celery
pcntl
--INI--
display_errors=0
log_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Ends
{
    public function __construct(private string $how)
    {
    }

    public function __toString(): string
    {
        switch ($this->how) {
            case 'throws':
                throw new DomainException('mine');
            case 'exits':
                exit("exits\n");
            case 'memory':
                return str_repeat('x', 256 << 20);
            default:
                // A fatal error: a class that cannot be declared.
                eval('class Celery {}');
        }

        return 'never';
    }
}
class Runs implements JsonSerializable
{
    public function __toString(): string
    {
        echo "ran!\n";

        return 'name';
    }

    public function jsonSerialize(): mixed
    {
        echo "ran!\n";

        return [];
    }

    public function __destruct()
    {
        if (!$GLOBALS['ended']) {
            echo "destroyed!\n";
        }
    }
}
class Client extends Celery
{
    public function BuildConnection($details, $is_backend = false)
    {
        echo "built!\n";
    }
}
class Result extends AsyncResult
{
    public function isReady()
    {
        echo "asked!\n";

        return false;
    }
}
$ended = false;
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$calls = [
    'task name' => fn ($ends) => $client->PostTask($ends, [new Runs()]),
    'routing key' => fn ($ends) => $client->PostTask('t', [new Runs()], true, $ends),
    'option' => fn ($ends) => $client->PostTask('t', [1], true, 'celery', ['shadow' => $ends, 'tenant' => new Runs()]),
    'option, a number' => fn ($ends) => $client->PostTask('t', [1], true, 'celery', ['retries' => $ends, 'tenant' => new Runs()]),
    'name in PostTasks' => fn ($ends) => $client->PostTasks([[$ends, [new Runs()]], ['t', [new Runs()]]]),
    'AsyncResult, task name' => fn ($ends) => new AsyncResult('x', arguments(), $ends, [new Runs()]),
    'AsyncResult, id' => fn ($ends) => new AsyncResult($ends, arguments(['host' => new Runs()])),
    'host' => fn ($ends) => new Client($ends, new Runs(), new Runs()),
    'login' => fn ($ends) => new Celery('127.0.0.1', $ends, new Runs(), 0, connector: 'redis'),
    'TLS option' => fn ($ends) => new Celery('127.0.0.1', '', '', 0, connector: 'redis', ssl_options: ['cafile' => $ends, 'peer_name' => new Runs()]),
    'timeout' => fn ($ends) => (new Result('x', arguments()))->get($ends, true, new Runs()),
    'property' => fn ($ends) => (new AsyncResult('x', arguments()))->__get($ends),
];
foreach ($calls as $what => $call) {
    echo "$what:";
    foreach (['throws', 'exits', 'memory', 'fatal'] as $how) {
        $child = pcntl_fork();
        if ($child === 0) {
            ini_set('memory_limit', '64M');
            register_shutdown_function(function () {
                $GLOBALS['ended'] = true;
            });
            if ($how === 'exits') {
                ob_start(fn () => '');
            }
            try {
                $call(new Ends($how));
            } catch (DomainException $e) {
                $ended = true;
                exit(7);
            }
            echo "went on!\n";
        }
        pcntl_waitpid($child, $status);
        echo ' ', pcntl_wexitstatus($status);
    }
    echo "\n";
}
var_dump(redis()->exists($queue));
?>
--EXPECT--
task name: 7 0 255 255
routing key: 7 0 255 255
option: 7 0 255 255
option, a number: 7 0 255 255
name in PostTasks: 7 0 255 255
AsyncResult, task name: 7 0 255 255
AsyncResult, id: 7 0 255 255
host: 7 0 255 255
login: 7 0 255 255
TLS option: 7 0 255 255
timeout: 7 0 255 255
property: 7 0 255 255
int(0)
