--TEST--
Forged serialized results are refused or harmless
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Gadget
{
    public function __wakeup()
    {
        echo "never\n";
    }
}
[$server, $port] = silent_server();
stream_set_blocking($server, false);
$forged = [
    'O:11:"AsyncResult":0:{}',
    'O:11:"AsyncResult":1:{s:7:"version";i:2;}',
    'O:11:"AsyncResult":1:{s:7:"version";s:1:"1";}',
    'O:11:"AsyncResult":1:{s:7:"version";i:1;}',
    'O:11:"AsyncResult":2:{s:7:"version";i:1;s:2:"id";a:0:{}}',
    'O:11:"AsyncResult":2:{s:7:"version";i:1;s:2:"id";s:0:"";}',
    'O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:1:"x";s:6:"result";s:8:"not json";}',
    'O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:1:"x";s:6:"result";s:36:"{"status":"STARTED","result":{}    }";}',
    'O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:1:"x";s:10:"properties";s:1:"p";}',
    "O:11:\"AsyncResult\":3:{s:7:\"version\";i:1;s:2:\"id\";s:1:\"\xff\";s:4:\"task\";N;}",
    'C:11:"AsyncResult":2:{{}}',
    'O:6:"Celery":0:{}',
];
foreach ($forged as $text) {
    try {
        var_dump(@unserialize($text));
    } catch (Exception $e) {
        echo get_class($e), "\n";
    }
}
// An address in the string is never used.
$url = "redis://127.0.0.1:$port/0";
$result = unserialize('O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:1:"x";s:10:"connection";s:' . strlen($url) . ":\"$url\";}");
show(fn () => $result->isReady());
var_dump(@stream_socket_accept($server, 0));
?>
--EXPECTF--
CeleryException
CeleryException
CeleryException
CeleryException
CeleryException
CeleryException
CeleryException
CeleryException
CeleryException
CeleryException
object(AsyncResult)#%d (0) {
}
Exception
CeleryException: The connection of this stored result is not known here. %s
bool(false)
