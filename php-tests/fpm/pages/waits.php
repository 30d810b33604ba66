<?php

/** Waits for the result of ?id. */

require __DIR__ . '/common.inc';

tell(['read' => result($_GET['id'])->get(60)]);
