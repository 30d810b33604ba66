--TEST--
No message, trace or page of settings has a part of a password from a directive
--EXTENSIONS--
celery
--INI--
zend.exception_ignore_args=0
zend.exception_string_param_max_len=1000
celery.post_timeout=0.02
celery.command_timeout=0.02
--SKIPIF--
<?php
if (!getenv('CELERY_EXTENSION')) {
    die('skip CELERY_EXTENSION, the library to load in other processes, is not set');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
require __DIR__ . '/../secrets.inc';

/**
 * All functions that may show directives. ini_get() and ini_get_all() do, as for PHP's own
 * passwords.
 */
function show_settings(): void
{
    phpinfo();
    (new ReflectionExtension('celery'))->info();
    foreach ([
        fn () => client()->PostTask('proj.echo', [], false, fresh('secrets')),
        fn () => client(['port' => 1, 'connector' => 'rediss'])->PostTask('proj.echo', [], false),
        fn () => (new Celery(null, null, null, null, connector: 'redis'))->PostTask('proj.echo', [], false),
        fn () => (new Celery\Celery(null, null, null, null, connector: 'redis'))->PostTask('proj.echo', [], false),
        fn () => (new CeleryAdvanced(arguments(['host' => '', 'port' => null])))->PostTask('proj.echo', []),
        fn () => unserialize(serialize(new AsyncResult('id', arguments(['port' => 1]))))->revoke(),
        fn () => unserialize(preg_replace('/[0-9a-f]{32}/', str_repeat('0', 32), serialize(new AsyncResult('id', arguments()))))->isReady(),
    ] as $call) {
        try {
            dump($call());
        } catch (Throwable $e) {
            echo $e->getMessage(), "\n", $e->getTraceAsString(), "\n";
        }
    }
}

if (($argv[1] ?? '') === 'child') {
    show_settings();
    exit("\nthe end");
}

/** Returns a text as php.ini writes it. */
function ini_text(string $text): string
{
    return str_contains($text, "'") ? '"' . addcslashes($text, '"\\$') . '"' : "'$text'";
}

$file = tempnam(sys_get_temp_dir(), 'celery-ini-');
$in_other_process = function (array $directives) use ($file): void {
    $lines = array_map(fn ($name, $text) => "$name = " . ini_text($text), array_keys($directives), $directives);
    file_put_contents($file, implode("\n", [
        'extension = ' . getenv('CELERY_EXTENSION'), 'zend.exception_ignore_args = 0', 'zend.exception_string_param_max_len = 1000',
        'celery.post_timeout = 0.02', 'celery.command_timeout = 0.02', ...$lines,
    ]));
    $modules = extension_loaded('redis') ? ['-d', 'extension=redis'] : [];
    $child = proc_open([PHP_BINARY, '-n', '-c', $file, ...$modules, __FILE__, 'child'], [1 => ['pipe', 'w'], 2 => ['redirect', 1]], $pipes);
    $text = stream_get_contents($pipes[1]);
    proc_close($child);
    // The other process must have read the file and run to its end.
    echo $text, str_contains($text, "\nthe end") && str_contains($text, '**') ? '' : "THE OTHER PROCESS FAILED: hush\n";
};

$open = $fixed = [];
foreach (ini_get_all('celery') as $name => $directive) {
    ($directive['access'] & INI_USER) !== 0 ? $open[] = $name : $fixed[] = $name;
}
$turn = 0;
foreach (logins() as $login => $encoded) {
    $urls = array_map(fn (string $form, string $written) => sprintf($form, $written === 'encoded' ? $encoded : $login), array_keys(forms()), forms());
    $url = $urls[++$turn % count($urls)];
    search('all that scripts set', $url, function () use ($open, $url) {
        $before = array_map(fn (string $name) => ini_set($name, $url), $open);
        (new ReflectionExtension('celery'))->info();
        array_map(ini_set(...), $open, $before);
    });
    $name = $open[$turn % count($open)];
    search($name, $url, function () use ($name, $url) {
        $before = ini_set($name, $url);
        // Without a timeout of its own, a call has the default of some seconds.
        str_ends_with($name, '_timeout') ? phpinfo(INFO_MODULES) : show_settings();
        ini_set($name, $before);
    });
    // Each character appears in nine logins. One of them is enough for separate processes.
    if ($turn % 9 === 0) {
        foreach (array_unique(['celery.broker_url', 'celery.result_backend', $fixed[intdiv($turn, 9) % count($fixed)]]) as $name) {
            search("$name, alone", $url, fn () => $in_other_process([$name => $url]));
        }
        search('all of the administrator', $url, fn () => $in_other_process(array_fill_keys($fixed, $url)));
    }
}
unlink($file);
echo count($open) + count($fixed) === count(ini_get_all('celery')) && count($fixed) >= 5 ? '' : "directives are missing\n";
echo verdict(600, 0), "\n";
?>
--EXPECT--
searched
