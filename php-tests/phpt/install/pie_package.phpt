--TEST--
The composer.json that PIE reads agrees with the extension and the sources
--EXTENSIONS--
celery
--FILE--
<?php
$root = __DIR__ . '/../../..';
$package = json_decode(file_get_contents("$root/composer.json"), true, flags: JSON_THROW_ON_ERROR);
$bridge = json_decode(file_get_contents("$root/laravel-bridge/composer.json"), true, flags: JSON_THROW_ON_ERROR);
$php = $package['php-ext'];
var_dump($package['type'], extension_loaded($php['extension-name']));
// PIE takes the version from the tag.
var_dump(isset($package['version']));
var_dump(is_file("$root/{$php['build-path']}/config.m4"), $package['license'] === $bridge['license']);
// PHP's packages and extensions share one list of names.
var_dump($package['name'] !== $bridge['name'], $package['require'] === ['php' => $bridge['require']['php']]);
// A release without a binary for this PHP is built from its sources.
var_dump(in_array('linux', $php['os-families']), in_array('windows', $php['os-families']));
echo implode(' ', $php['download-url-method']), "\n";
?>
--EXPECT--
string(7) "php-ext"
bool(true)
bool(false)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(false)
pre-packaged-binary composer-default
