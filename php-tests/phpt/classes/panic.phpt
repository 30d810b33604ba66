--TEST--
A panic of Rust code in the middle of a call is an Error; process and client continue to work
--EXTENSIONS--
celery
--SKIPIF--
<?php
exec('cc --version 2>&1', $output, $code);
if ($code !== 0) {
    die('skip needs a C compiler');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
$library = sys_get_temp_dir() . '/' . fresh('panic') . '.so';
passthru('cc -shared -fPIC -Wall -o ' . escapeshellarg($library) . ' ' . escapeshellarg(__DIR__ . '/../panic.c'));
$script = <<<'PHP'
    require getenv('SUPPORT');
    $queue = fresh('queue');
    $client = client(['exchange' => $queue]);
    $panics = function (callable $call) {
        putenv('CLOCK_IS_BROKEN=1');
        try {
            $call();
            echo "no panic\n";
        } catch (Error $e) {
            echo get_class($e), ': ', substr($e->getMessage(), 0, 11), "\n";
        }
        putenv('CLOCK_IS_BROKEN');
    };
    $result = new AsyncResult(fresh('id'), arguments());
    store($result->getId(), 'SUCCESS', 5);
    foreach ([1, 2] as $time) {
        $panics(fn () => $client->PostTask('proj.add', [2, 3]));
        $panics(fn () => $client->PostTasks([['proj.add', [2, 3]]]));
        $panics(fn () => $result->isReady());
        $client->PostTask('proj.add', [2, 3]);
        echo redis()->lLen($queue), "\n";
    }
    $panics(fn () => $result->get(5));
    echo $result->get(5), "\n";
    // The last panic is at the very end, where no code could catch an exception.
    putenv('CLOCK_IS_BROKEN=1');
    PHP;
preg_match('#\S*libcelery\.so#', file_get_contents('/proc/self/maps'), $extension);
$process = proc_open(
    [PHP_BINARY, '-d', "extension=$extension[0]", '-r', $script],
    [1 => STDOUT, 2 => STDOUT],
    $pipes,
    null,
    ['LD_PRELOAD' => $library, 'SUPPORT' => __DIR__ . '/../support.inc'] + getenv()
);
var_dump(proc_close($process));
unlink($library);
?>
--EXPECT--
Error: Rust panic:
Error: Rust panic:
Error: Rust panic:
1
Error: Rust panic:
Error: Rust panic:
Error: Rust panic:
2
Error: Rust panic:
5
int(0)
