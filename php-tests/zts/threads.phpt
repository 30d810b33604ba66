--TEST--
Threads of one process each have one connection, which outlives requests and fatal errors, and do not grow. CELERY_TEST_REQUESTS is the number of requests of each
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
/** Kilobytes by which the process may grow after a fifth of its requests, however many they are. */
const GROWTH = 2000;

$requests = max(50, (int) getenv('CELERY_TEST_REQUESTS'));
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
redis()->persist("celery-task-meta-{$place['id']}");
redis()->config('RESETSTAT');
file_put_contents("$folder/celery.ini", implode("\n", [
    'extension=' . getenv('CELERY_EXTENSION'), 'celery.keep_results=1', 'display_errors=0', 'log_errors=0',
]));
putenv('PHP_INI_SCAN_DIR=' . $folder);
putenv('THREADS_PLACE=' . json_encode($place));
$output = ['file', "$folder/output", 'w'];
$process = proc_open(["$folder/threads", (string) THREADS, (string) $requests, __DIR__ . '/request.inc'], [['pipe', 'r'], $output, $output], $pipes);

// The second line about memory is the end of the requests.
$lines = fn (): array => file("$folder/output", FILE_IGNORE_NEW_LINES);
$memory = fn (): array => array_values(preg_replace('/\D+/', '', preg_grep('/^resident \d+ kB$/', $lines())));
$end = microtime(true) + 300;
while (count($memory()) < 2 && proc_get_status($process)['running'] && microtime(true) < $end) {
    usleep(20_000);
}
$open = array_filter(redis()->client('LIST'), fn (array $client) => $client['user'] === $place['user']);
$received = redis()->info('stats')['total_connections_received'];
fclose($pipes[0]);
$status = proc_close($process);

[$first, $last] = array_map('intval', $memory()) + [0, PHP_INT_MAX];
$counts = array_count_values(preg_grep('/^resident /', $lines(), PREG_GREP_INVERT));
$deaths = $counts['greedy'] ?? 0;
printf("%d threads, %d requests each, of which %d died in a call\n", THREADS, $requests, $deaths);
printf("%d kB after a fifth of them, %d kB at the end\n", $first, $last);
printf("%d connections at the end, %d received\n", count($open), $received);
var_dump($status, ($counts['answered'] ?? 0) === THREADS * $requests, $deaths > 0);
unset($counts['answered'], $counts['greedy']);
var_dump($counts, redis()->lLen($place['queue']) === 10 * THREADS * $requests);
echo $last - $first < GROWTH ? 'flat' : 'it grew', "\n";
// A request that dies in a call may close its connection. This script has some of its own.
echo count($open) === THREADS && $received <= THREADS + $deaths + 10 ? "a connection for each thread\n" : "connections\n";
redis()->rawCommand('ACL', 'DELUSER', $place['user']);
redis()->del($place['queue'], "celery-task-meta-{$place['id']}");
array_map('unlink', glob("$folder/*"));
rmdir($folder);
?>
--EXPECTF--
6 threads, %d requests each, of which %d died in a call
%d kB after a fifth of them, %d kB at the end
6 connections at the end, %d received
int(0)
bool(true)
bool(true)
array(0) {
}
bool(true)
flat
a connection for each thread
