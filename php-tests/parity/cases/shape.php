<?php

/**
 * The classes in reflection: the facts that matter to code that extends, mocks or type-hints the
 * classes.
 */

declare(strict_types=1);

use CeleryParity\Lab;
use CeleryParity\Shape;

$classes = ['CeleryAbstract', 'Celery', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException', 'CeleryPublishException'];

return array_combine(
    array_map(fn (string $name) => "shape: $name", $classes),
    array_map(fn (string $name) => fn (Lab $lab) => Shape::of($name, $lab->observation), $classes),
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
