<?php

/** Posts one task, and reads nothing. */

require __DIR__ . '/common.inc';

tell(['posted' => client()->PostTask('proj.echo', [1])->getId()]);
