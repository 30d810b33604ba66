--TEST--
Threads of one process each have their own connections, which outlive requests and fatal errors
--EXTENSIONS--
celery
redis
--CONFLICTS--
all
--SKIPIF--
<?php
if (!file_exists(PHP_PREFIX . '/lib/libphp.a')) {
    die('skip PHP was built without --enable-embed=static');
}
?>
--FILE--
<?php
require __DIR__ . '/../phpt/support.inc';
const THREADS = 6;
const REQUESTS = 20;

$folder = sys_get_temp_dir() . '/' . fresh('threads');
mkdir($folder);
$config = PHP_PREFIX . '/bin/php-config';
$flags = fn (string $option) => trim(shell_exec("$config $option"));
passthru(implode(' ', [
    'cc -O1 -Wall -rdynamic -pthread -o', "$folder/threads", __DIR__ . '/threads.c', $flags('--includes'),
    PHP_PREFIX . '/lib/libphp.a', $flags('--libs'),
]));

$place = ['user' => fresh('user'), 'queue' => fresh('queue'), 'id' => fresh('id'), 'port' => redis_port()];
redis()->rawCommand('ACL', 'SETUSER', $place['user'], 'on', '>x', '~*', '&*', '+@all');
store($place['id'], 'SUCCESS', 5);
redis()->config('RESETSTAT');
file_put_contents("$folder/celery.ini", implode("\n", [
    'extension=' . getenv('CELERY_EXTENSION'), 'celery.keep_results=1', 'display_errors=0', 'log_errors=0',
]));
putenv('PHP_INI_SCAN_DIR=' . $folder);
putenv('THREADS_PLACE=' . json_encode($place));
exec(implode(' ', ["$folder/threads", THREADS, REQUESTS, __DIR__ . '/request.inc', '2>&1']), $lines, $status);

$counts = array_count_values($lines);
var_dump($status, $counts['answered'] ?? 0, ($counts['greedy'] ?? 0) > 0);
unset($counts['answered'], $counts['greedy']);
var_dump($counts, redis()->lLen($place['queue']));
// A thread needs one connection. A request that dies in a call may need another one. The connections
// of this script count, too.
$opened = redis()->info('stats')['total_connections_received'];
echo $opened <= 2 * THREADS + 5 ? "few connections\n" : "$opened connections\n";
redis()->rawCommand('ACL', 'DELUSER', $place['user']);
array_map('unlink', glob("$folder/*"));
rmdir($folder);
?>
--EXPECT--
int(0)
int(120)
bool(true)
array(0) {
}
int(1200)
few connections
