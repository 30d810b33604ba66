--TEST--
The ini that make install writes has every directive with its default
--EXTENSIONS--
celery
--FILE--
<?php
$ini = file_get_contents(__DIR__ . '/../../../packaging/php/celery.ini');
$said = parse_ini_string(preg_replace('/^;(?=celery\.)/m', '', $ini), false, INI_SCANNER_RAW);
var_dump($said['extension']);
unset($said['extension']);
ksort($said);
var_dump($said === ini_get_all('celery', false));
?>
--EXPECT--
string(6) "celery"
bool(true)
