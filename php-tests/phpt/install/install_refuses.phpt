--TEST--
make install and make uninstall report what is wrong before they change anything
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
    $prefix = folder();
    $refuses = function (string $what, array $changes, string ...$arguments) use ($prefix) {
        [$code, $said] = install($changes + ['PREFIX' => $prefix], ...$arguments);
        $names = [getenv('CELERY_EXTENSION') => 'EXTENSION', PHP_BINARY => 'PHP', PHP_EXTENSION_DIR => 'FOLDER'];
        $said = preg_replace('#' . getenv('SCRATCH') . '/tmp\.\w+#', 'TMP', strtr($said, $names));
        echo "$what: $code, ", strtok($said, "\n"), "\n";
    };

    $empty = folder();
    $refuses('nothing is built', ['CELERY_BIN' => $empty, 'CELERY_EXTENSION' => "$empty/libcelery.so"]);
    $refuses('no worker', ['CELERY_BIN' => $empty]);
    $refuses('no PHP', ['PHP' => '/nowhere/php']);
    $refuses('no php-config', ['PHP_CONFIG' => '/nowhere/php-config']);
    $other = folder() . '/php-config';
    file_put_contents($other, "#!/bin/sh\n[ \$1 = --version ] && echo 7.4.33 || echo /usr/lib/php/20190902\n");
    chmod($other, 0755);
    $refuses("another PHP's php-config", ['PHP_CONFIG' => $other]);
    $refuses('no extension of this PHP', ['CELERY_EXTENSION' => $other]);

    $scan = folder();
    file_put_contents("$scan/mine.ini", 'extension=' . getenv('CELERY_EXTENSION'));
    $refuses('loaded by hand', ['PHP_INI_SCAN_DIR' => ":$scan"]);
    $sealed = folder();
    exec("mount -t tmpfs -o ro tmpfs $sealed");
    $refuses('no right', ['PREFIX' => "$sealed/usr"]);
    $refuses('no right to a DESTDIR', ['DESTDIR' => "$sealed/package"]);
    $refuses('a relative PREFIX', ['PREFIX' => 'usr']);
    $refuses('never installed', [], '--undo');
    $refuses('for packagers', ['DESTDIR' => $prefix], '--undo');
    $refuses('no such option', [], '--remove');
    var_dump(files(...$folders) === $before, files($prefix));
    PHP);
?>
--EXPECTF--
nothing is built: 1, install: TMP/libcelery.so does not exist: run make build
no worker: 1, install: TMP/celery-worker does not exist: run make build
no PHP: 1, install: /nowhere/php does not exist; PHP=... names one
no php-config: 1, install: /nowhere/php-config does not exist (Debian: php-dev); PHP_CONFIG=... names one
another PHP's php-config: 1, install: PHP is PHP %d.%d with extensions in FOLDER, TMP/php-config is of PHP 7.4.33 with extensions in /usr/lib/php/20190902: PHP=... PHP_CONFIG=... name two that belong together
no extension of this PHP: 1, install: TMP/php-config does not load into PHP (%d.%d): run make build%w
loaded by hand: 1, install: PHP already loads celery, but not from `make install`: first remove its line from php.ini (php --ini)
no right: 1, install: TMP is not writable; as root: sudo make install
no right to a DESTDIR: 1, install: TMP is not writable; as root: sudo make install
a relative PREFIX: 1, install: PREFIX is a path from the root, without spaces: usr
never installed: 1, uninstall: TMP/share/celery-php/installed does not exist: make install put nothing under TMP (PREFIX=... names another place)
for packagers: 1, uninstall: to undo an install into a DESTDIR, remove that folder
no such option: 1, install: usage: scripts/install [--undo]
bool(true)
array(0) {
}
