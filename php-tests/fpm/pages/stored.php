<?php

/**
 * Returns a stored result, or reads the one in ?text; with ?construct it makes the result's client
 * first.
 */

require __DIR__ . '/common.inc';

if (isset($_GET['construct'])) {
    client();
}
ini_set('celery.keep_results', '1');
try {
    $text = $_GET['text'] ?? null;
    tell($text === null ? ['text' => serialize(result('known'))] : ['read' => unserialize($text)->get(20)]);
} catch (CeleryException $e) {
    tell(['thrown' => $e->getMessage()]);
}
