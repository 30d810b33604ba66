--TEST--
No message, trace or dump has a part of a password, with any characters and in any argument
--EXTENSIONS--
celery
--INI--
zend.exception_ignore_args=0
zend.exception_string_param_max_len=1000
celery.post_timeout=0.05
celery.command_timeout=0.05
--FILE--
<?php
require __DIR__ . '/../support.inc';
require __DIR__ . '/../secrets.inc';

$url = '';
$connect = function (object $made) {
    match (true) {
        $made instanceof AsyncResult => $made->isReady(),
        default => $made->PostTask('proj.echo', [], false, fresh('secrets')),
    };
};
// These are all arguments that PHP hides, in every class. A URL may be passed to any of them by
// mistake.
$ways = $hidden = [];
foreach ((new ReflectionExtension('celery'))->getClasses() as $class) {
    if ($class->isAbstract() || isset($hidden[$class->name]) || ($constructor = $class->getConstructor()) === null) {
        continue;
    }
    foreach ($constructor->getParameters() as $parameter) {
        if ($parameter->getAttributes('SensitiveParameter') === []) {
            continue;
        }
        $name = $class->name;
        $hidden[$name][] = $parameter->name;
        if (preg_match('/connection|details/', $parameter->name) === 1) {
            // An array, in which each key may hold a URL.
            foreach ([...array_keys(arguments()), 'ssl_options', 'priority_steps', 'sep', 'url'] as $key) {
                $ways["$name, $parameter->name, $key"] = function () use ($class, $parameter, $key, &$url) {
                    $usual = ['broker_connection' => arguments(), 'id' => 'id'];
                    $usual = array_intersect_key($usual, array_column($class->getConstructor()->getParameters(), null, 'name'));

                    return $class->newInstanceArgs([$parameter->name => arguments([$key => $url] + ['port' => null])] + $usual);
                };
            }
        }
        $ways["$name, $parameter->name"] = function () use ($class, $parameter, &$url) {
            $usual = ['id' => 'id', 'connection_details' => arguments(), 'broker_connection' => arguments()] + arguments(['port' => null]);
            $usual = array_intersect_key($usual, array_column($class->getConstructor()->getParameters(), null, 'name'));

            // Any text may be an id; the array after it may hold a URL by mistake.
            $given = $parameter->name === 'id' ? arguments(['host' => $url]) : $url;

            return $class->newInstanceArgs([$parameter->name => $given] + $usual);
        };
    }
}
foreach (['cafile', 'capath', 'local_cert', 'local_pk', 'passphrase', 'peer_name', 'verify_peer', 'unknown'] as $option) {
    $ways["ssl_options, $option"] = fn () => client(['port' => 1, 'ssl_options' => [$option => $url]]);
}
$ways['URL alone'] = fn () => new Celery($url);
$ways['URL alone, namespaced'] = fn () => new Celery\Celery($url);
$ways['the API, URL of the broker'] = fn () => new Celery\Client($url);
$ways['the API, URL of the backend'] = fn () => new Celery\Client('redis://localhost', backend: $url);
$ways['the API, URL in a list'] = fn () => new Celery\Client([$url, $url]);
$ways['the API, URL elsewhere'] = fn () => new Celery\Client(masterName: $url);
$ways['login beside a password'] = fn () => client(['login' => $url, 'password' => 'hunter']);
$ways['BuildConnection'] = fn () => client()->BuildConnection(arguments(['host' => $url]));
$ways['BuildConnection, the other way round'] = fn () => client()->BuildConnection(false, $url);

foreach (logins() as $login => $encoded) {
    foreach (forms() as $form => $written) {
        $url = sprintf($form, $written === 'encoded' ? $encoded : $login);
        foreach ($ways as $way => $call) {
            // Makes each call with every login, and makes the calls that take a URL with every form
            // of URL.
            if ($form !== array_key_first(forms()) && preg_match('/host|URL|login/', $way) !== 1) {
                continue;
            }
            search($way, $url, function () use ($call, $connect, $way) {
                $made = $call();
                dump($made);
                if (preg_match('/^URL alone|ssl_options|beside|AsyncResult.*host$/', $way) === 1 && connects($form)) {
                    $connect($made);
                }
            });
        }
    }
}
ksort($hidden);
foreach ($hidden as $class => $names) {
    echo "$class: ", implode(', ', $names), "\n";
}
echo verdict(10000, 5000), "\n";
?>
--EXPECT--
AsyncResult: id, connection_details
Celery: host, login, password, vhost, exchange, binding, port, connector, persistent_messages, result_expire, ssl_options
CeleryAdvanced: broker_connection, backend_connection
Celery\Celery: host, login, password, vhost, exchange, binding, port, connector, result_expire, ssl_options
Celery\CeleryAdvanced: broker_connection, backend_connection
Celery\Client: broker, backend, sentinelPassword, tls
searched
