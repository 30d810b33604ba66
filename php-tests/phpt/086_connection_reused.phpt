--TEST--
Clients of one place share a connection; held results open none
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/support.inc';
$user = fresh('user');
redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', '~*', '&*', '+@all');
$connections = fn () => count(array_filter(redis()->client('list'), fn ($client) => ($client['user'] ?? '') === $user));
$queue = fresh('queue');
$results = [];
for ($i = 0; $i < 200; ++$i) {
    $results[] = client(['login' => $user, 'password' => 'x', 'exchange' => $queue])->PostTask('proj.add', [$i]);
}
foreach ($results as $result) {
    store($result->getId(), 'SUCCESS', $result->getId());
}
$same = array_filter($results, fn ($result) => $result->get(5) === $result->getId());
var_dump(count($same), $connections() <= 2);
redis()->rawCommand('ACL', 'DELUSER', $user);
?>
--EXPECT--
int(200)
bool(true)
