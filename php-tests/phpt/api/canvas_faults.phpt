--TEST--
A canvas that cannot be sent is refused before anything is posted, or the exception names what was not posted
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Chain, Chord, Client, Group, Signature, Unencodable};

// Its own database, because it counts chords.
$database = 9;
$redis = redis($database);
$server = '127.0.0.1:' . redis_port() . "/$database";
$queue = fresh('canvas');
$s = fn (string $task, mixed ...$arguments) => (new Signature($task))->s(...$arguments)->set(queue: $queue);
$chord = new Chord([$s('a'), $s('b')], $s('c'));
$sizes = fn () => count($redis->keys('celery-taskset-meta-*'));
$show = function (string $what, callable $call) use ($redis, $queue) {
    try {
        $call();
        echo "$what: sent\n";
    } catch (Throwable $e) {
        $text = preg_replace(['/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/', '/:\d{4,5}/'], ['ID', ':PORT'], $e->getMessage());
        echo "$what: ", get_class($e), ": $text\n";
    }
    echo "  ", $redis->lLen($queue), " queued\n";
    $redis->del($queue);
};

// Without a result backend no chord begins. One that begins later begins in a worker, which may have
// a backend.
$client = new Client("redis://$server", 'disabled');
$show('disabled', fn () => $client->send($chord));
$show('disabled, in a group', fn () => $client->send(new Group($s('x'), $chord)));
$show('disabled, later in a chain', fn () => $client->send(new Chain($s('x'), $chord)));
$show('disabled, without a chord', fn () => $client->send(new Chain($s('x'), $s('y'))));

// The chord begins first: if the backend is away, nothing is posted.
$away = new Client("redis://$server", 'redis://127.0.0.1:' . closed_port(), connectTimeout: 1.0);
$show('backend away', fn () => $away->send($chord, retry: false));
$show('backend away, without a chord', fn () => $away->send(new Group($s('x'), $s('y'))));

// An argument that cannot be sent, deep inside: nothing is posted, and no chord begins.
$client = new Client("redis://$server", "redis://$server");
$before = $sizes();
$show('unencodable', fn () => $client->send(new Group($chord, new Chain($s('x'), $s('y', ['n' => NAN])))));
try {
    $client->send(new Group($chord, new Chain($s('x'), $s('y', ['n' => NAN]))));
} catch (Unencodable $e) {
    echo $e->path(), "\n";
}
$show('an option that cannot be used', fn () => $client->send(new Group($s('x'), $s('y')->set(headers: ['id' => 1]))));
$deep = $s('x');
for ($i = 0; $i < 60; $i++) {
    $deep = new Group($deep, $s('y'));
}
$show('too deep', fn () => $client->send($deep));
var_dump($sizes() === $before);

// One of the queues is not a list: the exception names what was not posted.
$occupied = fresh('occupied');
$redis->set($occupied, 'text');
$group = (new Group($s('a'), $s('b')->set(queue: $occupied), $s('c')))->freeze();
try {
    $client->send($group);
} catch (Celery\PublishFailed $e) {
    echo get_class($e), ' ', str_contains($e->getMessage(), $group->tasks[1]->id) ? 'names it' : $e->getMessage(), "\n";
    echo $redis->lLen($queue), " queued\n";
}
$redis->del($occupied, $queue);

// The rights that docs/reference/php.md lists are enough for a chord.
$user = fresh('user');
preg_match('/ACL SETUSER shop (.*?)\n```/s', file_get_contents(__DIR__ . '/../../../docs/reference/php.md'), $rights);
$rights = array_map(fn ($word) => trim($word, "'"), preg_split('/[\s\\\\]+/', $rights[1]));
$redis->rawCommand('ACL', 'SETUSER', $user, ...$rights, ...["~$queue"]);
$url = "redis://$user:PASSWORD@$server";
$show('with few rights', fn () => (new Client($url, $url))->send($chord));
$redis->rawCommand('ACL', 'DELUSER', $user);
?>
--EXPECT--
disabled: CeleryException: The task was not sent: a chord needs a result backend.
  0 queued
disabled, in a group: CeleryException: The task was not sent: a chord needs a result backend.
  0 queued
disabled, later in a chain: sent
  1 queued
disabled, without a chord: sent
  1 queued
backend away: CeleryConnectionException: Could not begin a chord on redis://127.0.0.1:PORT/0: Connection refused (os error 111). Check that Redis runs there, and the host and the port.
  0 queued
backend away, without a chord: sent
  2 queued
unencodable: Celery\Unencodable: The task was not sent: kwargs.tasks[1].kwargs.tasks[1].args[0].n is not a finite number.
  0 queued
kwargs.tasks[1].kwargs.tasks[1].args[0].n
an option that cannot be used: CeleryException: The task was not sent: the header id belongs to Celery's protocol: choose another name.
  0 queued
too deep: CeleryException: The task was not sent: signatures in signatures, more than 48 deep.
  0 queued
bool(true)
Celery\PublishFailed names it
2 queued
with few rights: sent
  2 queued
