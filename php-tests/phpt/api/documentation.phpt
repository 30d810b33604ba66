--TEST--
The PHP in docs/guides/posting.md runs, and that about FakeClient, and prints what they say
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
// A database of its own: the page's queues have fixed names.
$url = preg_replace('#/\d*$#', '', redis_url()) . '/12';
redis(12)->flushDB();
preg_match_all('/^```php\n(.*?)^```$/ms', file_get_contents(__DIR__ . '/../../../docs/guides/posting.md'), $blocks);
$testing = file_get_contents(__DIR__ . '/../../../docs/guides/testing.md');
preg_match('/^```php\n(use Celery\\\\Testing.*?)^```$/ms', $testing, $fake);
$blocks[1][] = $fake[1];
$code = str_replace("'redis://localhost'", var_export($url, true), implode('', $blocks[1]));
preg_match_all('#^ *echo .*; // (.*)$#m', $code, $said);
ob_start();
eval($code);
$printed = explode("\n", rtrim(ob_get_clean()));
echo count($blocks[1]), ' examples, ', count($printed), " lines\n";
foreach ($printed as $number => $line) {
    if ($line !== $said[1][$number]) {
        echo "$line, where the page says {$said[1][$number]}\n";
    }
}
?>
--EXPECT--
10 examples, 11 lines
