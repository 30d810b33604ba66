--TEST--
SIGTERM while get() waits ends the process, unless a handler decides otherwise
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
/** Starts a child that waits for a result, sends it SIGTERM, and prints how it ended. */
function end_of_waiter(string $what, callable $prepare, bool $answer = false): void
{
    $id = fresh('id');
    $channel = "celery-task-meta-$id";
    $child = pcntl_fork();
    if ($child === 0) {
        register_shutdown_function(function () use ($what) {
            echo "$what: shut down in order\n";
        });
        $prepare();
        try {
            $value = (new AsyncResult($id, arguments()))->get(60);
            pcntl_signal_dispatch();
            exit($value);
        } catch (DomainException $e) {
            exit(4);
        }
    }
    until('a reader', fn () => redis()->pubsub('NUMSUB', [$channel])[$channel] === 1);
    posix_kill($child, SIGTERM);
    if ($answer) {
        store($id, 'SUCCESS', 5);
    }
    pcntl_waitpid($child, $status);
    echo "$what: ", pcntl_wifsignaled($status) ? 'signal ' . pcntl_wtermsig($status) : 'code ' . pcntl_wexitstatus($status), "\n";
}

end_of_waiter('no handler', fn () => null);
end_of_waiter('a handler that exits', function () {
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, fn () => exit(143));
});
end_of_waiter('a handler that throws', function () {
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, fn () => throw new DomainException('enough'));
});
end_of_waiter('a handler that goes on', function () {
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, fn () => print("a handler that goes on: heard\n"));
}, true);
// Without pcntl_async_signals() PHP keeps the signal for pcntl_signal_dispatch().
end_of_waiter('a handler that waits', fn () => pcntl_signal(SIGTERM, fn () => exit(143)), true);
end_of_waiter('ignored', fn () => pcntl_signal(SIGTERM, SIG_IGN), true);
?>
--EXPECT--
no handler: signal 15
a handler that exits: shut down in order
a handler that exits: code 143
a handler that throws: shut down in order
a handler that throws: code 4
a handler that goes on: heard
a handler that goes on: shut down in order
a handler that goes on: code 5
a handler that waits: shut down in order
a handler that waits: code 143
ignored: shut down in order
ignored: code 5
