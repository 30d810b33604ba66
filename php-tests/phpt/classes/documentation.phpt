--TEST--
The PHP in docs/guides/from-celery-php.md and docs/reference/php.md runs, and prints what it says
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
// A worker that can add, on its own database.
$database = 13;
$worker = pcntl_fork();
if ($worker === 0) {
    $redis = redis($database);
    while ($popped = $redis->brPop(['celery', 'stop'], 20)) {
        if ($popped[0] === 'stop') {
            break;
        }
        $message = json_decode($popped[1], true);
        [[$x, $y]] = [(array) body($message)[0] + [0, 0]];
        if ($message['headers']['task'] === 'proj.add') {
            store($message['headers']['id'], 'SUCCESS', $x + $y, null, $database);
        }
    }
    posix_kill(posix_getpid(), SIGKILL);
}
redis($database)->flushDB();
// One step of a long task, which replaces the pause between two reads.
function next_step(string $id, int $database): void
{
    static $steps = [['PROGRESS', ['done' => 50, 'total' => 100]], ['SUCCESS', 'trained']];
    store($id, ...[...array_shift($steps), null, $database]);
}
$pages = '';
foreach (['guides/from-celery-php.md', 'reference/php.md'] as $page) {
    $pages .= file_get_contents(__DIR__ . "/../../../docs/$page");
}
preg_match_all('/^```php\n(.*?)^```$/ms', $pages, $blocks);
foreach ($blocks[1] as $block) {
    $block = str_replace("'localhost', null, null, 0, 'celery', 'celery', 6379", "'127.0.0.1', null, null, $database, 'celery', 'celery', " . redis_port(), $block);
    $block = str_replace('usleep(500_000);', 'next_step($result->getId(), $database);', $block);
    eval($block);
}
var_dump(count($blocks[1]), redis($database)->lLen('reports'), $e ?? null);
redis($database)->rPush('stop', 1);
pcntl_waitpid($worker, $status);
?>
--EXPECT--
5
a b
SUCCESS 5
50 of 100
SUCCESS
5
not reached
not reached
not reached
asked again in 5 s
int(11)
int(1)
NULL
