<?php

/** What reflection says of the classes: what code that extends, mocks or type-hints them relies on. */

declare(strict_types=1);

use CeleryParity\Lab;

/**
 * A parameter as its callers see it. `mixed` and no type at all accept and allow the same, overriding included, so they
 * are one here.
 */
$parameter = function (ReflectionParameter $parameter, Lab $lab): array {
    $type = (string) $parameter->getType();

    return [
        'name' => $parameter->getName(),
        'type' => $type === 'mixed' ? '' : $type,
        'optional' => $parameter->isOptional(),
        'by reference' => $parameter->isPassedByReference(),
        'variadic' => $parameter->isVariadic(),
    ] + ($parameter->isDefaultValueAvailable() ? ['default' => $lab->observation->value($parameter->getDefaultValue())] : []);
};

$method = fn (ReflectionMethod $method, Lab $lab) => [
    'static' => $method->isStatic(),
    'abstract' => $method->isAbstract(),
    'final' => $method->isFinal(),
    'by reference' => $method->returnsReference(),
    'return type' => (string) ($method->getReturnType() ?? $method->getTentativeReturnType()),
    'parameters' => array_map(fn (ReflectionParameter $p) => $parameter($p, $lab), $method->getParameters()),
];

$class = fn (string $name) => function (Lab $lab) use ($name, $method): array {
    $class = new ReflectionClass($name);
    $methods = [];
    foreach ($class->getMethods(ReflectionMethod::IS_PUBLIC) as $one) {
        if (!$one->getDeclaringClass()->isSubclassOf(Throwable::class) && $one->getDeclaringClass()->getName() !== 'Exception') {
            $methods[$one->getName()] = $method($one, $lab);
        }
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
        'public properties' => array_map(fn (ReflectionProperty $p) => $p->getName(), $class->getProperties(ReflectionProperty::IS_PUBLIC)),
        'methods' => $methods,
    ];
};

$classes = ['CeleryAbstract', 'Celery', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException', 'CeleryPublishException'];

return array_combine(
    array_map(fn (string $name) => "shape: $name", $classes),
    array_map($class, $classes),
) + [
    'shape: which are instances of which' => function (Lab $lab): array {
        $values = [
            'Celery' => $lab->client(),
            'CeleryAdvanced' => new CeleryAdvanced($lab->details()),
            'result' => $lab->result(),
            'exception' => new CeleryException('x'),
            'time-out' => new CeleryTimeoutException('x'),
            'publish' => new CeleryPublishException('x'),
        ];

        return array_map(fn (object $value) => array_values(array_filter(
            ['CeleryAbstract', 'Celery', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException', 'CeleryPublishException', 'Exception'],
            fn (string $class) => $value instanceof $class,
        )), $values);
    },
    'shape: exceptions are ordinary ones' => function (Lab $lab): array {
        $cause = new LogicException('cause');
        $exception = new CeleryTimeoutException('text', 4, $cause);

        return [$exception->getMessage(), $exception->getCode(), $exception->getPrevious() === $cause, (new CeleryException())->getMessage()];
    },
];
