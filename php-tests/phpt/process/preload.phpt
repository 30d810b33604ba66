--TEST--
A script that opcache preloads may define subclasses, post and read, and the requests after it do the same
--EXTENSIONS--
celery
opcache
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$id = fresh('id');
store($id, 'SUCCESS', 5);
$preloaded = tempnam(sys_get_temp_dir(), 'preload');
file_put_contents($preloaded, <<<'PHP'
    <?php
    class Preloaded extends AsyncResult
    {
        public function get($timeout = 10, $propagate = true, $interval = 0.5)
        {
            return ['preloaded', parent::get($timeout, $propagate, $interval)];
        }
    }
    enum Size: string implements JsonSerializable
    {
        case Large = 'large';

        public function jsonSerialize(): mixed
        {
            return $this->value;
        }
    }
    function place(): array
    {
        return ['127.0.0.1', null, null, 0, getenv('TEST_QUEUE'), 'celery', (int) getenv('TEST_PORT'), 'redis'];
    }
    (new Celery(...place()))->PostTask('proj.echo', ['from the preloaded script', Size::Large], false);
    (new Celery\Client('redis://127.0.0.1:' . getenv('TEST_PORT'), queue: getenv('TEST_QUEUE')))->sendTask('proj.echo', ['new']);
    PHP);
$request = tempnam(sys_get_temp_dir(), 'request');
file_put_contents($request, <<<'PHP'
    <?php
    ini_set('celery.keep_results', '1');
    echo json_encode(class_exists('Preloaded', false)), "\n";
    $client = new Celery(...place());
    for ($i = 0; $i < 3; ++$i) {
        $client->PostTask('proj.echo', ["request $i", Size::Large], false);
        echo json_encode((new Preloaded(getenv('TEST_ID'), [
            'host' => '127.0.0.1', 'login' => null, 'password' => null, 'vhost' => 0, 'exchange' => 'celery',
            'binding' => 'celery', 'port' => (int) getenv('TEST_PORT'), 'connector' => 'redis',
        ]))->get(20)), "\n";
    }
    PHP);
putenv("TEST_QUEUE=$queue");
putenv("TEST_ID=$id");
putenv('TEST_PORT=' . redis_port());
$settings = [
    'extension=' . getenv('CELERY_EXTENSION'), 'opcache.enable_cli=1', "opcache.preload=$preloaded",
    // As root, PHP preloads in a forked process of this user.
    'opcache.preload_user=' . get_current_user(),
];
$settings = implode(' ', array_map(fn ($setting) => '-d ' . escapeshellarg($setting), $settings));
passthru(PHP_BINARY . " $settings $request 2>&1", $status);
var_dump($status);
while ($message = message($queue)) {
    echo json_encode(body($message)[0]), "\n";
}
array_map(unlink(...), [$preloaded, $request]);
?>
--EXPECT--
true
["preloaded",5]
["preloaded",5]
["preloaded",5]
int(0)
["from the preloaded script","large"]
["new"]
["request 0","large"]
["request 1","large"]
["request 2","large"]
