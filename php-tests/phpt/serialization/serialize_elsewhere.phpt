--TEST--
A stored result is used only on a connection that this process already knows
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$text = 'O:11:"AsyncResult":5:{s:7:"version";i:1;s:2:"id";s:4:"some";s:4:"task";s:8:"proj.add";s:10:"connection";s:32:"0123456789abcdef0123456789abcdef";s:6:"broker";s:32:"0123456789abcdef0123456789abcdef";}';
$result = unserialize($text);
var_dump($result->getId());
show(fn () => $result->isReady());
show(fn () => $result->revoke());
// After a client was made with this address, the process knows the connection.
$known = serialize(client(['vhost' => 5, 'exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]));
var_dump(str_contains($known, '127.0.0.1'), unserialize($known)->isReady());
?>
--EXPECTF--
string(4) "some"
CeleryException: The connection of this stored result is not known here. Construct the client %s celery.result_backend.
CeleryException: The connection of this stored result is not known here. %s
bool(false)
bool(false)
