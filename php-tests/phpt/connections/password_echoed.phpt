--TEST--
A server that does not know AUTH, and repeats the refused command, cannot bring the password into a message
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
ini_set('celery.post_timeout', '2');
foreach (["-ERR unknown command 'AUTH', with args beginning with: 'user' 'hush-hush' ", '-ERR what is hush-hush?'] as $answer) {
    [$child, $port] = answering_server("$answer\r\n");
    try {
        client(['port' => $port, 'login' => 'user', 'password' => 'hush-hush'])->PostTask('proj.add', [2]);
    } catch (CeleryException $e) {
        echo preg_replace('/[0-9a-f-]{36}|:\d+/', '', $e->getMessage()), "\n";
    }
    pcntl_waitpid($child, $status);
}
?>
--EXPECT--
Task  was not confirmed by the broker redis://user:********@127.0.0.1/0: Redis answered: ERR unknown command 'AUTH'. The task was not queued.
Task  was not confirmed by the broker redis://user:********@127.0.0.1/0: Redis answered: ERR what is ********?. The task was not queued.
