<?php

/** Reads the result of ?id under the memory limit ?limit; prints its length or the exception. */

require __DIR__ . '/common.inc';

ini_set('memory_limit', $_GET['limit']);
try {
    tell(['read' => strlen((string) result($_GET['id'])->get(20))]);
} catch (CeleryException $e) {
    tell(['thrown' => get_class($e), 'message' => $e->getMessage()]);
}
