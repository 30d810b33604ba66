--TEST--
Clients of one server share a connection; held results open none, and they are read on it, too
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$user = fresh('user');
redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', '~*', '&*', '+@all');
// Redis gives each connection a new number, so that a replaced connection is noticed. It lists them
// in no defined order.
$connections = function () use ($user) {
    $ids = array_column(array_filter(redis()->client('list'), fn ($client) => $client['user'] === $user), 'id');
    sort($ids);

    return $ids;
};
$queue = fresh('queue');
$post = fn () => client(['login' => $user, 'password' => 'x', 'exchange' => $queue])->PostTask('proj.add', [2, 3]);
$results = [$post()];
$first = $connections();
while (count($results) < 200) {
    $results[] = $post();
}
var_dump(count($first), $connections() === $first);
foreach ($results as $result) {
    store($result->getId(), 'SUCCESS', $result->getId());
}
var_dump($results[0]->get(20) === $results[0]->getId());
$same = array_filter($results, fn ($result) => $result->get(20) === $result->getId());
var_dump(count($same), $connections() === $first);
redis()->rawCommand('ACL', 'DELUSER', $user);
?>
--EXPECT--
int(1)
bool(true)
bool(true)
int(200)
bool(true)
