--TEST--
phpinfo() has a section, without passwords
--EXTENSIONS--
celery
--INI--
celery.broker_url="rediss://user:hush-hush@broker:6379/1?ssl_keyfile=hush"
celery.result_backend="redis://:hush?hush/hush@back<b>end/2"
--FILE--
<?php
ob_start();
phpinfo(INFO_MODULES);
$text = ob_get_clean();
$section = substr($text, strpos($text, "\ncelery\n"), 1500);
var_dump(str_contains($section, 'celery.broker_url => rediss://user:**@broker:6379/1?** => rediss://user:**@broker:6379/1?**'));
var_dump(str_contains($section, 'celery.result_backend => redis://:**@back%3Cb%3Eend/2'));
var_dump(str_contains($section, 'celery.post_timeout => 5.0'), str_contains($section, 'hush'));
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(false)
