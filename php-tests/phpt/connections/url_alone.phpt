--TEST--
A URL alone is enough for a client; without a URL, the exception names the missing arguments
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends Celery
{
    public array $built = [];

    public function BuildConnection($details, $is_backend = false)
    {
        $this->built[] = array_keys($details);
        parent::BuildConnection($details, $is_backend);
    }
}
class Text
{
    public function __toString(): string
    {
        return redis_url();
    }
}
$url = redis_url();
foreach (['Celery', 'Celery\Celery'] as $class) {
    foreach ([[$url], [$url, null], [$url, '', false], [new Text()], ['host' => $url], [$url, 'exchange' => 'celery']] as $given) {
        $queue = fresh('queue');
        (new $class(...$given))->PostTask('proj.add', [1], false, $queue);
        echo message($queue)['headers']['task'], ' ';
    }
    echo "\n";
    foreach ([
        [], ['localhost'], ['/run/redis.sock', null], ['localhost', 'user', 'password'], [null], [''], [false, null, null], [6379], [['a']],
        ['redis:6379'],
    ] as $given) {
        show(fn () => new $class(...$given));
    }
    show(fn () => new $class('carrier://guest@localhost//'));
    show(fn () => new $class($url, null, null, 'x'));
}
$mine = new Mine($url);
echo json_encode($mine->built), "\n";
show(fn () => new Mine('localhost'));
// Omitted named arguments are null, as if they were passed.
$queue = fresh('queue');
(new Celery(host: '127.0.0.1', port: redis_port(), connector: 'redis'))->PostTask('proj.add', [1], false, $queue);
echo message($queue)['headers']['task'], "\n";
?>
--EXPECTF--
proj.add proj.add proj.add proj.add proj.add proj.add 
ArgumentCountError: %s
ArgumentCountError: Too few arguments, 1 passed and at least 4 expected: $host is not a URL, so $login, $password and $vhost must follow it (null where there is none). Or pass a URL alone, such as redis://localhost:6379/0.
ArgumentCountError: Too few arguments, 2 passed %s
ArgumentCountError: Too few arguments, 3 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 3 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
CeleryException: %s: the scheme `carrier` is not supported: %s
CeleryException: %s
proj.add proj.add proj.add proj.add proj.add proj.add 
ArgumentCountError: %s
ArgumentCountError: Too few arguments, 1 passed and at least 4 expected: %s
ArgumentCountError: Too few arguments, 2 passed %s
ArgumentCountError: Too few arguments, 3 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 3 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
ArgumentCountError: Too few arguments, 1 passed %s
CeleryException: %s: the scheme `carrier` is not supported: %s
CeleryException: %s
[["host"],["host"]]
ArgumentCountError: Too few arguments, 1 passed %s
proj.add
