<?php

/**
 * The cases: one name, one closure from a Lab to what was observed. Record and test run exactly these.
 *
 * A case calls only what PHP code written for celery-php can call, and looks at Redis as a Python worker would.
 */

declare(strict_types=1);

return array_merge(
    require __DIR__ . '/cases/connecting.php',
    require __DIR__ . '/cases/posting.php',
    require __DIR__ . '/cases/arguments.php',
    require __DIR__ . '/cases/results.php',
    require __DIR__ . '/cases/states.php',
    require __DIR__ . '/cases/shape.php',
    require __DIR__ . '/cases/inheritance.php',
    require __DIR__ . '/cases/namespaced.php',
);
