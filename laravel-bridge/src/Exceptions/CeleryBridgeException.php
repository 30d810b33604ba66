<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use Throwable;

/**
 * What all exceptions of this package share. Those of the extension (`CeleryException` and its children) pass through
 * as they are.
 */
interface CeleryBridgeException extends Throwable
{
}
