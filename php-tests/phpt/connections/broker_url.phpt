--TEST--
celery.broker_url and celery.result_backend serve code that names no server; scripts cannot change them
--EXTENSIONS--
celery
--INI--
celery.broker_url=${REDIS_URL}
celery.result_backend=${REDIS_URL}
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = new Celery(null, null, null, null, $queue);
$result = $client->PostTask('proj.add', [2, 3]);
var_dump(redis()->lLen($queue));
store($result->getId(), 'SUCCESS', 5);
var_dump($result->get(5));
// Results are in the backend of php.ini, not in the client's database.
$result = client(['vhost' => 4])->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 6);
var_dump($result->get(5));
// The rule also holds for classes that build their connections themselves,
class Own extends CeleryAbstract
{
    public function __construct()
    {
        $this->BuildConnection(arguments(['vhost' => 4]));
    }
}
$result = (new Own())->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 7);
var_dump($result->get(5));
// and for classes that change how they are built,
class Changed extends Celery
{
    public function BuildConnection($details, $is_backend = false)
    {
        return parent::BuildConnection(['vhost' => 4] + $details, $is_backend);
    }
}
$result = (new Changed(...arguments()))->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 8);
var_dump($result->get(5));
// unless the class names a backend.
class Named extends Celery
{
    public function BuildConnection($details, $is_backend = false)
    {
        return parent::BuildConnection(['vhost' => $is_backend ? 5 : 4] + $details, $is_backend);
    }
}
$result = (new Named(...arguments()))->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 9, null, 5);
var_dump($result->get(5));
$advanced = new class(arguments(['vhost' => 4]), arguments(['vhost' => 4])) extends CeleryAdvanced {
    public function BuildConnection($details, $is_backend = false)
    {
        return parent::BuildConnection($details, $is_backend);
    }
};
$result = $advanced->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 10, null, 4);
var_dump($result->get(5));
echo "options beside the URL of php.ini must agree with it:\n";
show(fn () => new Celery(null, 'user', null, null));
show(fn () => new Celery(null, null, 'secret', null));
show(fn () => new Celery(null, null, null, 3));
show(fn () => new Celery(null, null, null, null, port: 7));
show(fn () => new Celery(null, null, null, null, connector: 'rediss'));
show(fn () => new Celery(null, null, null, null, connector: 'amqp'));
show(fn () => new Celery(null, null, null, null, ssl_options: ['cafile' => null]));
show(fn () => get_class(new Celery(null, '', '', '/', port: redis_port(), connector: 'redis')));
var_dump(ini_set('celery.broker_url', 'redis://elsewhere'), ini_set('celery.result_backend', 'redis://elsewhere'));
?>
--EXPECTF--
int(1)
int(5)
int(6)
int(7)
int(8)
int(9)
int(10)
options beside the URL of php.ini must agree with it:
CeleryException: These connection arguments cannot be used beside the directive celery.broker_url: contradicting options: a login beside a URL with another one.
CeleryException: These connection arguments cannot be used beside the directive celery.broker_url: contradicting options: a password beside a URL with another one.
CeleryException: These connection arguments cannot be used beside the directive celery.broker_url: contradicting options: a virtual host beside a URL with another one.
CeleryException: These connection arguments cannot be used beside the directive celery.broker_url: contradicting options: a port beside a URL with another one.
CeleryException: The connector 'rediss' contradicts the URL of the broker, whose scheme is redis. %s
CeleryException: The connector 'amqp' contradicts the URL of the broker, whose scheme is redis. %s
CeleryException: These connection arguments cannot be used beside the directive celery.broker_url: contradicting options: TLS options beside a URL without TLS.
string(6) "Celery"
bool(false)
bool(false)
