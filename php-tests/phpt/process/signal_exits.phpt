--TEST--
A signal handler that exits ends the script in the middle of get(), with its status
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';
$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$child = pcntl_fork();
if ($child === 0) {
    pcntl_async_signals(true);
    pcntl_signal(SIGALRM, fn () => exit(3));
    signal_in_wait($result->getId());
    $result->get(60);
    exit(9);
}
pcntl_waitpid($child, $status);
var_dump(pcntl_wexitstatus($status));
?>
--EXPECT--
int(3)
