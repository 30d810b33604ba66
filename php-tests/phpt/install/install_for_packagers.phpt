--TEST--
make install with DESTDIR puts the files there and nothing elsewhere; PHP loads them from there
--EXTENSIONS--
celery
--SKIPIF--
<?php
require __DIR__ . '/../install.inc';
die(cannot_install());
?>
--FILE--
<?php
require __DIR__ . '/../install.inc';
in_namespace(<<<'PHP'
    $folders = own_copies();
    $before = files(...$folders);
    [$destdir, $prefix] = [folder(), folder()];
    [$code, $said] = install(['DESTDIR' => $destdir, 'PREFIX' => $prefix]);
    var_dump($code, files(...$folders) === $before, files($prefix));
    foreach (explode("\n", $said) as $line) {
        echo preg_replace('#/\S*/(?=celery\.)#', '…/', str_replace($prefix, 'PREFIX', $line)), "\n";
    }
    echo php('echo phpversion("celery") ?: "not loaded";'), "\n";
    $library = $destdir . PHP_EXTENSION_DIR . '/celery.so';
    echo run([PHP_BINARY, '-n', '-d', "extension=$library", '-r', 'echo phpversion("celery");'])[1], "\n";
    printf("%o %o\n", fileperms($library) & 0777, fileperms("$destdir$prefix/bin/celery-worker") & 0777);
    preg_match('/^ExecStart=(\S+)/m', file_get_contents("$destdir$prefix/lib/systemd/system/celery-worker.service"), $start);
    var_dump($start[1] === "$prefix/bin/celery-worker");
    var_dump(count(files($destdir)));
    PHP);
?>
--EXPECTF--
int(0)
bool(true)
array(0) {
}
installed:
  …/celery.so
  PREFIX/bin/celery-worker
  PREFIX/lib/systemd/system/celery-worker.service
  …/celery.ini
not loaded
%d.%d.%d
644 755
bool(true)
int(4)
