<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use Throwable;

/**
 * The interface of all exceptions of this package. Exceptions of the extension (`CeleryException`
 * and its children) pass through unchanged.
 */
interface CeleryBridgeException extends Throwable
{
}
