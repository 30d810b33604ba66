<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * A class in reflection: the facts that matter to code that extends or mocks the class, or calls it
 * by argument names.
 */
final class Shape
{
    private const CLIENT = ['BuildConnection', 'InitializeAMQPConnection', 'PostTask', 'getAsyncResultMessage'];

    /** celery-php's public methods. Additional methods of the extension do not concern parity. */
    private const METHODS = [
        'CeleryAbstract' => self::CLIENT,
        'Celery' => ['__construct', ...self::CLIENT],
        'CeleryAdvanced' => ['__construct', ...self::CLIENT],
        'AsyncResult' => [
            '__construct', '__wakeup', '__get', 'getId', 'isReady', 'ready', 'getStatus', 'isSuccess', 'successful', 'failed',
            'getTraceback', 'getResult', 'get', 'wait', 'forget', 'revoke',
        ],
    ];

    public static function of(string $name, Observation $observation): array
    {
        $class = new \ReflectionClass($name);
        $methods = [];
        foreach (self::METHODS[substr($name, (int) strrpos("\\$name", '\\'))] ?? [] as $method) {
            $known = $class->hasMethod($method) && $class->getMethod($method)->isPublic();
            $methods[$method] = $known ? self::method($class->getMethod($method), $observation) : null;
        }
        $interfaces = $class->getInterfaceNames();
        sort($interfaces);

        return [
            'abstract' => $class->isAbstract(),
            'final' => $class->isFinal(),
            'instantiable' => $class->isInstantiable(),
            'cloneable' => $class->isCloneable(),
            'parents' => array_values(class_parents($name)),
            'interfaces' => $interfaces,
            'constants' => array_keys($class->getConstants()),
            'public properties' => array_map(fn (\ReflectionProperty $p) => $p->getName(), $class->getProperties(\ReflectionProperty::IS_PUBLIC)),
            'methods' => $methods,
        ];
    }

    private static function method(\ReflectionMethod $method, Observation $observation): array
    {
        return [
            'static' => $method->isStatic(),
            'abstract' => $method->isAbstract(),
            'final' => $method->isFinal(),
            'by reference' => $method->returnsReference(),
            'return type' => (string) ($method->getReturnType() ?? $method->getTentativeReturnType()),
            'parameters' => array_map(fn (\ReflectionParameter $p) => self::parameter($p, $observation), $method->getParameters()),
        ];
    }

    /**
     * Describes a parameter. `mixed` and a missing type are equal here: they accept the same values,
     * even in overriding.
     */
    private static function parameter(\ReflectionParameter $parameter, Observation $observation): array
    {
        $type = (string) $parameter->getType();

        return [
            'name' => $parameter->getName(),
            'type' => $type === 'mixed' ? '' : $type,
            'optional' => $parameter->isOptional(),
            'by reference' => $parameter->isPassedByReference(),
            'variadic' => $parameter->isVariadic(),
        ] + ($parameter->isDefaultValueAvailable() ? ['default' => $observation->value($parameter->getDefaultValue())] : []);
    }
}
