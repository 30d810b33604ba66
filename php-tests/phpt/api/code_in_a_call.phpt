--TEST--
PHP code in the middle of a call may throw, exit, run out of memory, fork, change its arguments, or switch fibers
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

use Celery\{Client, Signature};

class Runs implements JsonSerializable
{
    public function __construct(private Closure $code)
    {
    }

    public function jsonSerialize(): mixed
    {
        return ($this->code)();
    }
}

class Moment extends DateTimeImmutable
{
    public static Closure $code;

    public function format(string $format): string
    {
        (self::$code)();

        return parent::format($format);
    }
}

$queue = fresh();
$client = new Client(redis_url(), queue: $queue);
/** The places where PHP code runs in a call. Each makes a call that posts one task. */
$places = [
    'argument' => fn (Closure $code) => $client->sendTask('t', [1, [new Runs($code)]]),
    'keyword argument' => fn (Closure $code) => $client->sendTask('t', kwargs: ['a' => new Runs($code)]),
    'option' => fn (Closure $code) => $client->sendTask('t', headers: ['a' => new Runs($code)]),
    'date' => function (Closure $code) use ($client) {
        Moment::$code = $code;
        $client->sendTask('t', eta: new Moment());
    },
    'signature' => fn (Closure $code) => $client->signature('t', [new Runs($code)])->delay(),
    'callback' => fn (Closure $code) => $client->signature('t', link: new Signature('t', [new Runs($code)]))->applyAsync(),
    'route' => fn (Closure $code) => $client->with(routes: ['*' => function () use ($code): ?array {
        $code();

        return null;
    }])->sendTask('t'),
    'headers' => fn (Closure $code) => $client->with(headers: function () use ($code): array {
        $code();

        return [];
    })->sendTask('t'),
];
$deeds = [
    'throws' => fn () => throw new DomainException('on purpose'),
    'exits' => fn () => exit(3),
    'runs out of memory' => function () {
        ini_set('memory_limit', '8M');
        str_repeat('x', 100 << 20);
    },
    'posts' => fn () => $client->sendTask('inner') && null,
    'switches fibers' => function () use ($client) {
        if (Fiber::getCurrent() !== null) {
            Fiber::suspend();
        }
    },
];
foreach ($deeds as $deed => $code) {
    foreach ($places as $place => $call) {
        $child = pcntl_fork();
        if ($child !== 0) {
            pcntl_waitpid($child, $status);
            echo "$place $deed: ", pcntl_wifexited($status) ? pcntl_wexitstatus($status) : 'killed', ', ', redis()->lLen($queue), " posted\n";
            redis()->del($queue);
            continue;
        }
        register_shutdown_function(function () use ($client) {
            ini_set('memory_limit', '512M');
            // What the call held is free again.
            $client->with(timezone: null)->sendTask('after');
        });
        try {
            $fiber = new Fiber($call);
            $fiber->start($code);
            if ($fiber->isSuspended()) {
                $client->sendTask('meanwhile');
                $fiber->resume();
            }
        } catch (DomainException $thrown) {
            echo $thrown->getMessage(), "\n";
        }
        exit(0);
    }
}

// The arguments may be replaced while they are encoded.
$args = [new Runs(function () use (&$args) {
    $args = null;
    gc_collect_cycles();

    return 'first';
}), 'second'];
$list = [&$args[0], &$args[1]];
$client->sendTask('t', $list);
echo json_encode(body(message($queue))[0]), "\n";

// A parent and its child post each for themselves.
$client->with(headers: function () use (&$child): array {
    $child = pcntl_fork();

    return ['who' => $child === 0 ? 'child' : 'parent'];
})->sendTask('t');
if ($child === 0) {
    exit(0);
}
pcntl_waitpid($child, $status);
$who = [message($queue)['headers'], message($queue)['headers']];
$names = array_column($who, 'who');
sort($names);
echo implode(' ', $names), ', ', $who[0]['id'] !== $who[1]['id'] ? 'two ids' : 'one id', "\n";

// A canvas contains itself through an argument.
$self = new ArrayObject();
$self['me'] = new Signature('t', [$self]);
show(fn () => $client->sendTask('t', [$self]));
$deep = [];
for ($level = 0; $level < 600; $level++) {
    $deep = [$deep];
}
show(fn () => $client->sendTask('t', [$deep]));
$loop = [];
$loop['loop'] = &$loop;
show(fn () => $client->sendTask('t', [$loop]));
show(fn () => $client->sendTask('t', [fn () => 1]));
show(fn () => $client->sendTask('t', ['a', ['b' => (object) ['c' => fopen('php://memory', 'r')]]]));
echo redis()->lLen($queue), " posted\n";
?>
--EXPECTF--
on purpose
argument throws: 0, 1 posted
on purpose
keyword argument throws: 0, 1 posted
on purpose
option throws: 0, 1 posted
on purpose
date throws: 0, 1 posted
on purpose
signature throws: 0, 1 posted
on purpose
callback throws: 0, 1 posted
on purpose
route throws: 0, 1 posted
on purpose
headers throws: 0, 1 posted
argument exits: 3, 1 posted
keyword argument exits: 3, 1 posted
option exits: 3, 1 posted
date exits: 3, 1 posted
signature exits: 3, 1 posted
callback exits: 3, 1 posted
route exits: 3, 1 posted
headers exits: 3, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
argument runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
keyword argument runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
option runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
date runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
signature runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
callback runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
route runs out of memory: 255, 1 posted

Fatal error: Allowed memory size of %d bytes exhausted %s
headers runs out of memory: 255, 1 posted
argument posts: 0, 3 posted
keyword argument posts: 0, 3 posted
option posts: 0, 3 posted
date posts: 0, 3 posted
signature posts: 0, 3 posted
callback posts: 0, 3 posted
route posts: 0, 3 posted
headers posts: 0, 3 posted
argument switches fibers: 0, 3 posted
keyword argument switches fibers: 0, 3 posted
option switches fibers: 0, 3 posted
date switches fibers: 0, 3 posted
signature switches fibers: 0, 3 posted
callback switches fibers: 0, 3 posted
route switches fibers: 0, 3 posted
headers switches fibers: 0, 3 posted
["first","second"]
child parent, two ids
Celery\Unencodable: The task was not sent: args[0].me.args[0] contains itself.
Celery\Unencodable: The task was not sent: args[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0… is nested deeper than 512 levels.
Celery\Unencodable: The task was not sent: args[0].loop contains itself.
Celery\Unencodable: The task was not sent: args[0] is a closure.
Celery\Unencodable: The task was not sent: args[1].b.c is a resource.
0 posted
