<?php

/**
 * Where the extension answers otherwise than celery-php, on purpose.
 *
 * Each group has a reason and, for each case, the places that differ with exactly our answer. A place is a path into the
 * observation; ABSENT means that our observation has nothing there. A group with `protocol` holds for runs under that
 * `celery.task_protocol` only.
 */

declare(strict_types=1);

namespace CeleryParity;

return [];
