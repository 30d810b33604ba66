--TEST--
The extension needs only functions that every patch level of PHP's minor version has
--EXTENSIONS--
celery
--SKIPIF--
<?php
if (exec('command -v nm') === '') die('skip: nm of binutils is not installed');
?>
--FILE--
<?php
exec('nm -D --undefined-only ' . escapeshellarg(getenv('CELERY_EXTENSION')), $lines, $code);
$names = array_map(fn ($line) => preg_replace('/^.* [Uw] ([^@]+).*$/', '$1', $line), $lines);
// A function that every patch level has shows that the names were read.
var_dump($code, in_array('_zend_bailout', $names));
// Debian's security update of 8.2 added these.
var_dump(array_values(preg_grep('/^zend_.*(_oom|_delayed)/', $names)));
?>
--EXPECT--
int(0)
bool(true)
array(0) {
}
