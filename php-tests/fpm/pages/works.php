<?php

/** Does the work of a usual request: posts a task and reads a result. */

require __DIR__ . '/common.inc';

$posted = client()->PostTask('proj.add', [2, 3])->getId();
$read = result('known')->get(20);
preg_match('/^VmRSS:\s+(\d+) kB/m', file_get_contents('/proc/self/status'), $resident);
tell(['posted' => $posted, 'read' => $read, 'resident' => (int) $resident[1], 'php' => memory_get_usage()]);
