<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use LogicException;

/**
 * A PHP worker was started for a queue connection whose tasks Celery workers take.
 */
final class ServedByCelery extends LogicException implements CeleryBridgeException
{
}
