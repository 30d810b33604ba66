<?php

/** Returns the resident kilobytes of this process. */

require __DIR__ . '/common.inc';

preg_match('/^VmRSS:\s+(\d+) kB/m', file_get_contents('/proc/self/status'), $resident);
tell(['resident' => (int) $resident[1]]);
