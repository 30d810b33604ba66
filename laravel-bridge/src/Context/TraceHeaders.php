<?php

declare(strict_types=1);

namespace CeleryBridge\Context;

use CeleryBridge\TaskMessage;
use Illuminate\Container\Container;
use Illuminate\Http\Request;
use OpenTelemetry\API\Trace\Propagation\TraceContextPropagator;

/**
 * The W3C headers `traceparent` and `tracestate`, which let a task continue the trace of its post: from
 * OpenTelemetry where it is installed, otherwise from the HTTP request that is being answered.
 */
final class TraceHeaders
{
    private const PARENT = 'traceparent';

    private const STATE = 'tracestate';

    /** Returns the task with these headers, unless it has its own. Without a trace it stays as it was. */
    public static function add(TaskMessage $task): TaskMessage
    {
        if (isset($task->fields[self::PARENT])) {
            return $task;
        }
        $headers = class_exists(TraceContextPropagator::class) ? self::fromOpenTelemetry() : self::fromRequest();
        if (preg_match('/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/D', $headers[self::PARENT] ?? '') !== 1) {
            return $task;
        }
        $task = $task->withField(self::PARENT, $headers[self::PARENT]);
        $state = $headers[self::STATE] ?? '';

        // The longest one that the standard asks a program to pass on.
        return preg_match('/^[\x20-\x7e]{1,512}$/D', $state) === 1 ? $task->withField(self::STATE, $state) : $task;
    }

    /**
     * @return array<string, string>
     */
    private static function fromOpenTelemetry(): array
    {
        $headers = [];
        TraceContextPropagator::getInstance()->inject($headers);

        return $headers;
    }

    /**
     * @return array<string, string>
     */
    private static function fromRequest(): array
    {
        // Under Octane, each request has a container of its own, and this is the present one.
        $container = Container::getInstance();
        $request = $container->bound('request') ? $container->make('request') : null;
        if (! $request instanceof Request) {
            return [];
        }

        return [
            self::PARENT => (string) $request->headers->get(self::PARENT),
            self::STATE => (string) $request->headers->get(self::STATE),
        ];
    }
}
