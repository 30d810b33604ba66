--TEST--
Destructors may post, throw, exit and die: in the middle of a call, and after the end of the script
--EXTENSIONS--
celery
pcntl
--INI--
display_errors=0
log_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;

/** Is encoded as an object without other references, whose destructor then runs in the middle of the call. */
final class Argument implements JsonSerializable
{
    public function __construct(private Closure $at_end)
    {
    }

    public function jsonSerialize(): mixed
    {
        return [new Temporary($this->at_end), 'x'];
    }
}
final class Temporary implements JsonSerializable
{
    public function __construct(private Closure $at_end)
    {
    }

    public function __destruct()
    {
        ($this->at_end)();
    }

    public function jsonSerialize(): mixed
    {
        return 'temporary';
    }
}
$queue = fresh('queue');
$posts = [
    'PostTask' => fn (mixed $value) => client(['exchange' => $queue])->PostTask('proj.echo', [$value], false),
    'PostTasks' => fn (mixed $value) => client(['exchange' => $queue])->PostTasks([['proj.echo', [$value]], ['proj.echo', []]], false),
    'sendTask' => fn (mixed $value) => (new Client(redis_url(), queue: $queue))->sendTask('proj.echo', [$value]),
    'pipelined' => function (mixed $value) use ($queue) {
        ini_set('celery.publish', 'pipelined');
        client(['exchange' => $queue])->PostTask('proj.echo', ['first'], false);
        client(['exchange' => $queue])->PostTask('proj.echo', [$value], false);
    },
];
$ends = [
    'posts' => fn () => client(['exchange' => $queue])->PostTask('proj.echo', ['inner'], false),
    'throws' => fn () => throw new DomainException('mine'),
    'exits' => fn () => exit(7),
    'dies' => fn () => require '/nowhere/at/all',
    'has no memory' => fn () => ini_set('memory_limit', '4M') . str_repeat('x', 64 << 20),
];
foreach ($posts as $how => $post) {
    foreach ($ends as $what => $end) {
        $child = pcntl_fork();
        if ($child === 0) {
            register_shutdown_function(function () use ($queue) {
                ini_set('memory_limit', '128M');
                ini_set('celery.publish', 'confirmed');
                client(['exchange' => $queue])->PostTask('proj.echo', ['at the end'], false);
            });
            try {
                $post(new Argument($end));
            } catch (DomainException) {
                exit(3);
            }
            exit(0);
        }
        pcntl_waitpid($child, $status);
        $bodies = [];
        while ($message = message($queue)) {
            $bodies[] = json_encode(body($message)[0]);
        }
        echo "$how, $what: ", pcntl_wifexited($status) ? pcntl_wexitstatus($status) : 'killed', ' ', implode(' ', $bodies), "\n";
    }
}
// After the end of the script, when objects are destroyed.
foreach (['confirmed', 'pipelined'] as $mode) {
    foreach ($ends as $what => $end) {
        $child = pcntl_fork();
        if ($child === 0) {
            ini_set('celery.publish', $mode);
            $client = client(['exchange' => $queue]);
            $last = new Temporary(function () use ($client, $end) {
                $client->PostTask('proj.echo', ['last'], false);
                $end();
            });
            exit(0);
        }
        pcntl_waitpid($child, $status);
        $bodies = [];
        while ($message = message($queue)) {
            $bodies[] = json_encode(body($message)[0]);
        }
        echo "after the end, $mode, $what: ", pcntl_wifexited($status) ? pcntl_wexitstatus($status) : 'killed', ' ', implode(' ', $bodies), "\n";
    }
}
?>
--EXPECT--
PostTask, posts: 0 ["inner"] [["temporary","x"]] ["at the end"]
PostTask, throws: 3 ["at the end"]
PostTask, exits: 7 ["at the end"]
PostTask, dies: 255 ["at the end"]
PostTask, has no memory: 255 ["at the end"]
PostTasks, posts: 0 ["inner"] [["temporary","x"]] [] ["at the end"]
PostTasks, throws: 3 ["at the end"]
PostTasks, exits: 7 ["at the end"]
PostTasks, dies: 255 ["at the end"]
PostTasks, has no memory: 255 ["at the end"]
sendTask, posts: 0 ["inner"] [["temporary","x"]] ["at the end"]
sendTask, throws: 3 ["at the end"]
sendTask, exits: 7 ["at the end"]
sendTask, dies: 255 ["at the end"]
sendTask, has no memory: 255 ["at the end"]
pipelined, posts: 0 ["first"] ["inner"] [["temporary","x"]] ["at the end"]
pipelined, throws: 3 ["first"] ["at the end"]
pipelined, exits: 7 ["first"] ["at the end"]
pipelined, dies: 255 ["first"] ["at the end"]
pipelined, has no memory: 255 ["first"] ["at the end"]
after the end, confirmed, posts: 0 ["last"] ["inner"]
after the end, confirmed, throws: 255 ["last"]
after the end, confirmed, exits: 7 ["last"]
after the end, confirmed, dies: 255 ["last"]
after the end, confirmed, has no memory: 255 ["last"]
after the end, pipelined, posts: 0 ["last"] ["inner"]
after the end, pipelined, throws: 255 ["last"]
after the end, pipelined, exits: 7 ["last"]
after the end, pipelined, dies: 255 ["last"]
after the end, pipelined, has no memory: 255 ["last"]
