--TEST--
A signal handler that exits ends the script in the middle of get(), with its status
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/support.inc';
$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$child = pcntl_fork();
if ($child === 0) {
    pcntl_async_signals(true);
    pcntl_signal(SIGALRM, fn () => exit(3));
    pcntl_alarm(1);
    $result->get(30);
    exit(9);
}
pcntl_waitpid($child, $status);
var_dump(pcntl_wexitstatus($status));
?>
--EXPECT--
int(3)
