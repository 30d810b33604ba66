--TEST--
A fatal error in the middle of a wait closes the connections of the wait
--EXTENSIONS--
celery
pcntl
posix
--INI--
display_errors=0
log_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
function sockets(): int
{
    return count(array_filter(glob('/proc/self/fd/*'), fn ($file) => str_starts_with((string) @readlink($file), 'socket:')));
}
pcntl_async_signals(true);
pcntl_signal(SIGALRM, fn () => trigger_error('enough', E_USER_ERROR));
$before = sockets();
$client = client();
$result = new AsyncResult(fresh('id'), arguments());
register_shutdown_function(function () use ($before, $client, $result) {
    store($result->getId(), 'SUCCESS', 5);
    // As usual, one connection to send and to listen.
    var_dump($result->get(60), sockets() - $before);
});
signal_in_wait($result->getId());
$result->get(60);
echo "never\n";
?>
--EXPECT--
int(5)
int(1)
