--TEST--
Passwords never appear in a dump, a string or a trace
--EXTENSIONS--
celery
--INI--
zend.exception_ignore_args=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
function hidden(string $what, string $text): void
{
    echo $what, ': ', str_contains($text, 'hush') ? "SHOWN\n$text\n" : "hidden\n";
}
$port = closed_port();
$details = ['password' => 'hush-hush', 'login' => 'user', 'port' => $port];
$objects = [
    'client' => client($details),
    'url' => new Celery("redis://user:hush-hush@127.0.0.1:$port/0", '', '', ''),
    'advanced' => new CeleryAdvanced(arguments($details)),
    'result' => new AsyncResult('id', arguments($details)),
];
foreach ($objects as $name => $object) {
    ob_start();
    var_dump($object);
    hidden("$name var_dump", ob_get_clean());
    hidden("$name print_r", print_r($object, true));
    hidden("$name var_export", var_export($object, true));
    hidden("$name json_encode", json_encode($object));
    hidden("$name array", print_r((array) $object, true));
}
hidden('serialize', serialize($objects['result']));
ini_set('celery.post_timeout', '1');
ini_set('celery.command_timeout', '1');
$calls = [
    'post' => fn () => $objects['client']->PostTask('proj.add', [2]),
    'post by url' => fn () => $objects['url']->PostTask('proj.add', [2]),
    'read' => fn () => $objects['result']->isReady(),
    'constructor' => fn () => client(['port' => 'x'] + $details),
    'constructor by url' => fn () => new Celery('redis://user:hush-hush@h:port/x', '', '', ''),
    'ssl_options' => fn () => client(['ssl_options' => ['passphrase' => 'hush-hush', 'unknown' => 1]]),
    'advanced' => fn () => new CeleryAdvanced(['vhost' => 'x'] + arguments($details)),
    'result' => fn () => new AsyncResult('id', ['vhost' => 'x'] + arguments($details)),
    'build' => fn () => $objects['client']->BuildConnection(['vhost' => 'x'] + arguments($details)),
];
foreach ($calls as $name => $call) {
    try {
        $call();
        echo "$name: no exception\n";
    } catch (CeleryException $e) {
        $frames = array_filter($e->getTrace(), fn ($frame) => isset($frame['class']) && $frame['class'] !== 'Closure');
        hidden("$name message", $e->getMessage());
        hidden("$name trace", print_r(array_column($frames, 'args'), true) . $e->getTraceAsString());
    }
}
?>
--EXPECT--
client var_dump: hidden
client print_r: hidden
client var_export: hidden
client json_encode: hidden
client array: hidden
url var_dump: hidden
url print_r: hidden
url var_export: hidden
url json_encode: hidden
url array: hidden
advanced var_dump: hidden
advanced print_r: hidden
advanced var_export: hidden
advanced json_encode: hidden
advanced array: hidden
result var_dump: hidden
result print_r: hidden
result var_export: hidden
result json_encode: hidden
result array: hidden
serialize: hidden
post message: hidden
post trace: hidden
post by url message: hidden
post by url trace: hidden
read message: hidden
read trace: hidden
constructor message: hidden
constructor trace: hidden
constructor by url message: hidden
constructor by url trace: hidden
ssl_options message: hidden
ssl_options trace: hidden
advanced message: hidden
advanced trace: hidden
result message: hidden
result trace: hidden
build message: hidden
build trace: hidden
