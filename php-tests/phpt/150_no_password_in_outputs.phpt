--TEST--
No message, trace, dump or page of settings has a part of a password, whatever characters it has and wherever it is given
--EXTENSIONS--
celery
--INI--
zend.exception_ignore_args=0
zend.exception_string_param_max_len=1000
--FILE--
<?php
require __DIR__ . '/support.inc';
$forms = [
    'redis://%s@127.0.0.1:1/0', 'rediss://%s@127.0.0.1:1?db=1', 'unix://%s@/none.sock', 'amqp://%s@127.0.0.1', '%s@127.0.0.1',
    '"redis://%s@127.0.0.1"', 'redis://127.0.0.1:1/0;redis://%s@127.0.0.1:1', ' redis://%s@127.0.0.1:1/0 ',
];
$dumps = [
    'var_dump' => fn (mixed $value) => var_dump($value), 'print_r' => fn (mixed $value) => print_r($value),
    'var_export' => fn (mixed $value) => var_export($value), 'json_encode' => fn (mixed $value) => print json_encode($value),
    'serialize' => fn (mixed $value) => print serialize($value),
];
$url = '';
$ways = ['info' => function () use (&$url) {
    ini_set('celery.broker_url', $url);
    ini_set('celery.result_backend', $url);
    (new ReflectionExtension('celery'))->info();
}];
foreach (['Celery', 'Celery\Celery'] as $class) {
    $ways["$class of ini"] = fn () => new $class(null, null, null, null, connector: 'redis');
    $ways["$class, URL alone"] = function () use ($class, &$url) { return new $class($url); };
    foreach (['host', 'vhost', 'port', 'connector'] as $name) {
        $ways["$class, $name"] = function () use ($class, $name, &$url) { return new $class(...arguments([$name => $url])); };
    }
}
foreach (['CeleryAdvanced', 'Celery\CeleryAdvanced'] as $class) {
    foreach (['host', 'vhost', 'port', 'connector'] as $name) {
        $ways["$class, broker's $name"] = function () use ($class, $name, &$url) { return new $class(arguments([$name => $url])); };
        $ways["$class, backend's $name"] = function () use ($class, $name, &$url) { return new $class(arguments(), arguments([$name => $url])); };
    }
}
$ways['AsyncResult'] = function () use (&$url) { return new AsyncResult('id', ['host' => $url] + arguments()); };

$outputs = $refused = 0;
$found = [];
$look = function (string $text, string $where) use (&$url, &$outputs, &$found) {
    ++$outputs;
    if (preg_match('/hunt|hush/', $text) === 1) {
        $found[$where] ??= "$url: $text";
    }
};
foreach (str_split(':/?#[]@!$&\'()*+,;=% "\\<>^`{|}') as $reserved) {
    foreach (["{$reserved}hunterhush", "hunter{$reserved}hush", "hunterhush{$reserved}"] as $i => $secret) {
        $user = ["{$reserved}app", "a{$reserved}pp", "app{$reserved}"][$i];
        foreach (["app:$secret", ":$secret", "$user:hunterhush"] as $login) {
            foreach ($forms as $form) {
                $url = sprintf($form, $login);
                foreach ($ways as $way => $call) {
                    ob_start();
                    try {
                        $made = $call();
                        foreach ($made === null ? [] : $dumps as $dump) {
                            try {
                                $dump($made);
                            } catch (Exception $e) {
                                echo $e->getMessage();
                            }
                        }
                    } catch (Throwable $e) {
                        ++$refused;
                        // PHP's own trace shows an argument that is no place for a URL.
                        echo $e->getMessage(), preg_match('/vhost|port|connector/', $way) === 1 ? '' : $e->getTraceAsString();
                    }
                    $look(ob_get_clean(), $way);
                }
            }
        }
    }
}
foreach ($found as $where => $text) {
    echo "$where: $text\n";
}
echo $outputs > 10000 && $refused > 1000 && $refused < $outputs ? 'searched' : "$outputs, $refused", "\n";
?>
--EXPECT--
searched
