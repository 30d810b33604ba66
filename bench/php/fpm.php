<?php

/**
 * Requests a page of a private PHP-FPM with one child. Order: {requests}. Answer: {resident,
 * private}: the child's memory after the last request, in kilobytes.
 *
 * FPM loads the extension if this process does; the environment tells both where its ini file is.
 */

require __DIR__ . '/serve.php';

spl_autoload_register(static function (string $class): void {
    require dirname(__DIR__, 2) . '/php-tests/support/' . substr($class, strlen('CeleryTests\\')) . '.php';
});

$fpm = new CeleryTests\Fpm(__DIR__ . '/pages');
serve(function (array $order) use ($fpm): array {
    for ($i = 0; $i < $order['requests']; $i++) {
        $answer = $fpm->get('post.php')->told();
    }
    return $answer;
});
