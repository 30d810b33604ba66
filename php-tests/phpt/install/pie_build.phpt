--TEST--
phpize, ./configure, make and make install in PIE's build path install the extension
--EXTENSIONS--
celery
--SKIPIF--
<?php
require __DIR__ . '/../install.inc';
foreach (['phpize', 'cargo', 'make', 'autoconf'] as $program) {
    exec("command -v $program", $output, $code);
    if ($code !== 0) {
        die("skip needs $program");
    }
}
die(cannot_install());
?>
--FILE--
<?php
require __DIR__ . '/../install.inc';
in_namespace(<<<'PHP'
    own_copies();
    $root = dirname(getenv('SUPPORT'), 3);
    ['php-ext' => $package] = json_decode(file_get_contents("$root/composer.json"), true);
    // The files that are written there belong to this namespace.
    $folder = "$root/{$package['build-path']}";
    $copy = folder();
    exec("cp -a $folder/config.m4 $folder/Makefile.frag $copy && mount --bind $copy $folder");
    chdir($folder);
    // The extension was built before, so Cargo has nothing left to do.
    $built = dirname(getenv('CELERY_EXTENSION'));
    $changes = ['CARGO_TARGET_DIR' => dirname($built)];
    $make = ['make', 'CELERY_PROFILE=' . strtr(basename($built), ['debug' => 'dev'])];
    $step = function (string ...$command) use ($changes) {
        [$code, $said] = run($command, $changes);
        echo basename($command[0]), $code === 0 ? '' : " failed: $code\n$said", "\n";
    };
    $listed = fn (string ...$options) => in_array('celery', explode("\n", run([PHP_BINARY, ...$options, '-m'])[1]));

    $step('phpize');
    $step('./configure', '--config-cache', '--with-php-config=' . (getenv('PHP_CONFIG') ?: exec('command -v php-config')));
    $step(...$make);
    var_dump(hash_file('sha256', 'modules/celery.so') === hash_file('sha256', getenv('CELERY_EXTENSION')));

    $elsewhere = folder();
    $step('make', 'install', "INSTALL_ROOT=$elsewhere");
    echo str_replace(PHP_EXTENSION_DIR, 'FOLDER', implode(' ', preg_replace("#^$elsewhere| \\d+ *$#", '', files($elsewhere)))), "\n";
    var_dump($listed('-n', '-d', "extension_dir=$elsewhere" . PHP_EXTENSION_DIR, '-d', 'extension=celery'));

    // PIE calls `sudo make install`: root may have no Cargo.
    $step('make', 'install', 'CARGO=/nowhere/cargo');
    var_dump($listed('-n'), $listed('-n', '-d', 'extension=celery'));

    echo "\n", preg_replace('/\d\.\d+/', 'VERSION', preg_replace('/.*(configure: error: .*)/s', '$1',
        run(['./configure', '--config-cache'], ['ac_cv_path_CARGO' => 'no'])[1])), "\n";
    PHP);
?>
--EXPECT--
phpize
configure
make
bool(true)
make
FOLDER/celery.so
bool(true)
make
bool(false)
bool(true)

configure: error: cargo was not found; Rust VERSION or newer is needed: https://rustup.rs
