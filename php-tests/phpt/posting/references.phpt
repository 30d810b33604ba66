--TEST--
PHP code that runs while arguments are encoded may replace the values they refer to
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Clears implements JsonSerializable, Stringable
{
    public function __construct(public Closure $clear)
    {
    }

    public function jsonSerialize(): mixed
    {
        return (string) $this;
    }

    public function __toString(): string
    {
        ($this->clear)();
        $GLOBALS['filler'] = array_map(fn ($i) => [str_repeat('#', 40), str_repeat('#', 40), "$i"], range(1, 200));

        return 'cleared';
    }
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);

$task = ['proj.echo', [new Clears(function () use (&$task) { $task = null; }), str_repeat('a', 3)], ['shadow' => str_repeat('s', 3)]];
$tasks = [&$task];
$client->PostTasks($tasks);
$message = message($queue);
var_dump(body($message)[0], $message['headers']['shadow']);

$args = [new Clears(function () use (&$args) { $args = null; }), str_repeat('b', 3)];
$client->PostTasks([['proj.echo', &$args]]);
var_dump(body(message($queue))[0]);

$options = ['first' => new Clears(function () use (&$options) { $options = null; }), 'second' => str_repeat('c', 3)];
$client->PostTasks([['proj.echo', [], &$options]]);
$message = message($queue);
var_dump($message['headers']['first'], $message['headers']['second']);

$ssl = ['cafile' => new Clears(function () use (&$ssl) { $ssl = null; }), 'capath' => '/nowhere', 'unknown' => 'x'];
show(fn () => new CeleryAdvanced(['ssl_options' => &$ssl] + arguments()));
?>
--EXPECT--
array(2) {
  [0]=>
  string(7) "cleared"
  [1]=>
  string(3) "aaa"
}
string(3) "sss"
array(2) {
  [0]=>
  string(7) "cleared"
  [1]=>
  string(3) "bbb"
}
string(7) "cleared"
string(3) "ccc"
CeleryException: These connection arguments cannot be used: unknown option `unknown`.
