--TEST--
make install enables the extension for every SAPI and keeps settings; make uninstall restores the machine
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
    $tell = fn (string $what, bool $so) => print("$what: " . ($so ? 'yes' : 'NO') . "\n");
    // For this kind of PHP (Debian's has phpenmod), and for a PHP with a folder of ini files.
    foreach (['', folder()] as $scan) {
        $where = ['PREFIX' => folder()] + ($scan === '' ? [] : ['PHP_INI_SCAN_DIR' => $scan]);
        $does = fn (string $what, string ...$undo) => ([$code, $said] = install($where, ...$undo))[0] === 0 && str_contains($said, $what);
        $loaded = fn () => php('var_dump(extension_loaded("celery"));', $where);
        $debian = $scan === '' && str_starts_with(PHP_CONFIG_FILE_SCAN_DIR, '/etc/php/');
        $own = dirname(PHP_CONFIG_FILE_SCAN_DIR, 2);
        $ini = $debian ? "$own/mods-available/celery.ini" : ($scan ?: PHP_CONFIG_FILE_SCAN_DIR) . '/celery.ini';

        $tell('installed', $does('loads celery'));
        $tell('PHP has it', $loaded() === 'bool(true)');
        $lacking = array_filter($debian ? glob("$own/*/conf.d") : [], fn ($sapi) => !is_file("$sapi/20-celery.ini"));
        $tell('every SAPI has it', $lacking === []);
        $tell('the worker can be run', is_executable("$where[PREFIX]/bin/celery-worker"));

        $tell('installed again', $does($ini));
        file_put_contents($ini, "celery.result_timeout = 7\n", FILE_APPEND);
        $tell('and again, with other settings', $does("$ini stays as it is"));
        $tell('they count', php('echo ini_get("celery.result_timeout");', $where) === '7');

        $kept = $debian ? $ini : "$ini.disabled";
        $tell('removed, except the settings', $does($debian ? "$ini stays" : $kept, '--undo'));
        $tell('PHP lacks it, and says nothing', $loaded() === 'bool(false)');
        $tell('they are kept', str_contains(file_get_contents($kept), 'timeout = 7'));
        unlink($kept);

        $tell('installed once more', $does('loads celery'));
        $tell('removed', $does($ini, '--undo'));
        $left = [glob("$where[PREFIX]/{share,lib}/*", GLOB_BRACE), files($where['PREFIX']), glob("$scan/*.ini*")];
        $tell('all is as it was', files(...$folders) === $before && $left === [[], [], []]);
    }
    PHP);
?>
--EXPECT--
installed: yes
PHP has it: yes
every SAPI has it: yes
the worker can be run: yes
installed again: yes
and again, with other settings: yes
they count: yes
removed, except the settings: yes
PHP lacks it, and says nothing: yes
they are kept: yes
installed once more: yes
removed: yes
all is as it was: yes
installed: yes
PHP has it: yes
every SAPI has it: yes
the worker can be run: yes
installed again: yes
and again, with other settings: yes
they count: yes
removed, except the settings: yes
PHP lacks it, and says nothing: yes
they are kept: yes
installed once more: yes
removed: yes
all is as it was: yes
