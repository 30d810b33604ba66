--TEST--
Without celery.breaker_failures the classes of celery-php ask a dead broker at every call
--EXTENSIONS--
celery
--INI--
celery.breaker_failures=
--FILE--
<?php
require __DIR__ . '/../support.inc';
$port = closed_port();
foreach (['Celery', 'Celery\Celery'] as $class) {
    $client = $class === 'Celery' ? client(['port' => $port]) : new Celery\Celery("redis://127.0.0.1:$port");
    for ($i = 0; $i < 4; ++$i) {
        try {
            $client->PostTask('proj.add', [1]);
        } catch (CeleryException $e) {
            echo get_class($e), "\n";
        }
    }
}
ob_start();
phpinfo(INFO_MODULES);
preg_match('/^Circuit.*$/m', ob_get_clean(), $row);
echo $row[0], "\n";
?>
--EXPECT--
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
Circuits => all closed
