<?php

/** Gives a stored result, or reads the one in ?text; ?construct first makes the client it belongs to. */

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
