--TEST--
Wrong credentials are a CeleryConnectionException that does not contain them
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach ([['password' => 'hush-hush'], ['login' => 'stranger', 'password' => 'hush-hush']] as $changes) {
    try {
        client($changes)->PostTask('proj.add', [2, 3]);
        echo "posted?\n";
    } catch (CeleryConnectionException $e) {
        var_dump(str_contains($e->getMessage(), 'refused the credentials'), str_contains((string) $e, 'hush'));
    }
}
$user = fresh('user');
redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>right', '~*', '&*', '+@all');
$queue = fresh('queue');
var_dump(client(['login' => $user, 'password' => 'right', 'exchange' => $queue])->PostTask('proj.add', [2, 3], false));
redis()->rawCommand('ACL', 'DELUSER', $user);
?>
--EXPECT--
bool(true)
bool(false)
bool(true)
bool(false)
bool(true)
