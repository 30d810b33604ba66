--TEST--
An invalid directive for the lists fails the first call; an empty one counts as the default
--EXTENSIONS--
celery
--FILE--
<?php
$script = __DIR__ . '/priority_steps_of_ini_script.php';
file_put_contents($script, '<?php
try {
    new Celery("localhost", null, null, 0, "celery", "celery", 1, "redis");
    echo "built\n";
} catch (CeleryException $e) {
    echo $e->getMessage(), "\n";
}');
$extension = ini_get('extension_dir');
foreach (['priority_steps=3,6', 'priority_steps=0,,3', 'priority_sep=123456789', 'priority_steps=', 'priority_sep='] as $directive) {
    $words = [PHP_BINARY, '-d', 'extension=' . getenv('CELERY_EXTENSION'), '-d', "celery.$directive", $script];
    echo shell_exec(implode(' ', array_map(escapeshellarg(...), $words)));
}
?>
--CLEAN--
<?php @unlink(__DIR__ . '/priority_steps_of_ini_script.php'); ?>
--EXPECT--
The directive celery.priority_steps cannot be used: the first of the priority_steps must be 0, for messages of the most urgent priority.
The directive celery.priority_steps cannot be used: priority_steps is a list of numbers from 0 to 9, such as 0,3,6,9.
The directive celery.priority_sep cannot be used: sep must have 1 to 8 bytes.
built
built
