--TEST--
With the extension installed, testkit's PHPs load the built one or none, without a warning
--EXTENSIONS--
celery
--SKIPIF--
<?php
require __DIR__ . '/../install.inc';
if (!is_executable(testkit())) {
    die('skip needs testkit: make build');
}
if (PHP_BINDIR !== '/usr/bin' || !glob('/usr/sbin/php-fpm*') || !is_file('/usr/sbin/nginx')) {
    die('skip needs nginx, and php-fpm beside this PHP');
}
die(cannot_install());
?>
--FILE--
<?php
require __DIR__ . '/../install.inc';
in_namespace(<<<'PHP'
    own_copies();
    echo install(['PREFIX' => folder()])[0], "\n";
    $known = [getenv('CELERY_EXTENSION') => 'built', PHP_EXTENSION_DIR . '/celery.so' => 'installed'];
    $which = <<<'WHICH'
        preg_match_all('#/\S*celery\.so#', file_get_contents('/proc/self/maps'), $loaded);
        $all = array_map('realpath', glob(PHP_CONFIG_FILE_SCAN_DIR . '/*.ini'));
        $read = array_map('realpath', preg_split('/,\s*/', trim(php_ini_scanned_files())));
        $names = fn (array $files) => implode(' ', array_map('basename', $files));
        echo PHP_SAPI, ' with ', implode(' ', array_unique($loaded[0])) ?: 'none',
            ', less: ', $names(array_diff($all, $read)), ', more: ', $names(array_diff($read, $all));
        WHICH;
    $page = folder();
    file_put_contents("$page/index.php", "<?php $which");
    $tell = fn (string ...$command) => print(strtr(run($command)[1], $known) . "\n");
    $php = fn (string ...$with) => [PHP_BINARY, '-d', 'display_startup_errors=1', '-d', 'display_errors=1', ...$with];

    $tell(...$php('-r', $which));
    $tell(testkit(), 'up', '--', ...$php('-r', $which));
    $tell(testkit(), 'up', '--', ...$php('-d', 'extension=' . getenv('CELERY_EXTENSION'), '-r', $which));
    $tell(testkit(), 'up', 'php', '--', ...$php('-r', $which));
    $tell(testkit(), 'up', "fpm=$page", '--', PHP_BINARY, '-r', 'echo file_get_contents(getenv("APP_URL"));');
    file_put_contents(php_ini_loaded_file(), "\nextension=celery\n", FILE_APPEND);
    $tell(testkit(), 'up', '--', 'true');
    PHP);
?>
--EXPECTF--
0
cli with installed, less: , more:
cli with none, less: celery.ini, more:
cli with built, less: celery.ini, more:
cli with built, less: celery.ini, more: celery.ini
fpm-fcgi with built, less: celery.ini, more: celery.ini
testkit: %sphp.ini enables celery, so the built extension cannot be used: remove that line
