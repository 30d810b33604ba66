<?php

/**
 * Compares celery.stub.php with the loaded extension, by reflection in two processes.
 *
 *     php -d extension=/path/to/libcelery.so stubs/check.php
 *
 * Exits with 1 and shows the differences if there are any.
 */

declare(strict_types=1);

const NAMES = [
    'Celery', 'CeleryAbstract', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException',
    'CeleryPublishException', 'CeleryConnectionException',
];

function type(?ReflectionType $type): string
{
    return $type === null ? '' : (string) $type;
}

function describe_parameter(ReflectionParameter $parameter): string
{
    $attributes = array_map(fn (ReflectionAttribute $attribute) => '#[' . $attribute->getName() . ']', $parameter->getAttributes());
    $default = $parameter->isDefaultValueAvailable() ? ' = ' . var_export($parameter->getDefaultValue(), true) : '';

    return trim(implode(' ', [...$attributes, type($parameter->getType()), '$' . $parameter->getName()])) . $default;
}

/** @return list<string> */
function describe_class(ReflectionClass $class): array
{
    $modifiers = implode(' ', Reflection::getModifierNames($class->getModifiers() & ~ReflectionClass::IS_IMPLICIT_ABSTRACT));
    $parent = $class->getParentClass();
    $lines = [trim("$modifiers class") . ($parent ? ' extends ' . $parent->getName() : '')];
    foreach ($class->getMethods() as $method) {
        if ($method->getDeclaringClass()->getName() !== $class->getName()) {
            continue;
        }
        $lines[] = sprintf(
            '%s function %s(%s)%s',
            implode(' ', Reflection::getModifierNames($method->getModifiers())),
            $method->getName(),
            implode(', ', array_map(describe_parameter(...), $method->getParameters())),
            $method->hasReturnType() ? ': ' . type($method->getReturnType()) : '',
        );
    }
    foreach ($class->getProperties() as $property) {
        if ($property->getDeclaringClass()->getName() === $class->getName()) {
            $modifiers = implode(' ', Reflection::getModifierNames($property->getModifiers()));
            $lines[] = "$modifiers \${$property->getName()} = " . var_export($property->getDefaultValue(), true);
        }
    }
    foreach ($class->getConstants() as $name => $value) {
        $lines[] = "const $name = " . var_export($value, true);
    }
    sort($lines);

    return $lines;
}

/** @return array<string, list<string>> */
function describe(): array
{
    $described = [];
    foreach (['', 'Celery\\'] as $namespace) {
        foreach (NAMES as $name) {
            $name = $namespace . $name;
            if (!class_exists($name, false)) {
                $described[$name] = ['(missing)'];
                continue;
            }
            $class = new ReflectionClass($name);
            $described[$name] = $class->getName() === $name ? describe_class($class) : ['is ' . $class->getName()];
        }
    }

    return $described;
}

if (getenv('CELERY_STUB_CHECK') === 'stub') {
    if (extension_loaded('celery')) {
        fwrite(STDERR, "The extension is loaded by php.ini, so the stub cannot be loaded.\n");
        exit(2);
    }
    require __DIR__ . '/celery.stub.php';
    echo json_encode(describe(), JSON_THROW_ON_ERROR);
    exit(0);
}

if (!extension_loaded('celery')) {
    fwrite(STDERR, "Load the extension: php -d extension=/path/to/libcelery.so stubs/check.php\n");
    exit(2);
}
$extension = describe();
$known = array_map(strtolower(...), array_keys($extension));
$differences = [];
foreach ((new ReflectionExtension('celery'))->getClassNames() as $name) {
    if (!in_array(strtolower($name), $known, true)) {
        $differences[] = "$name: not in the stub";
    }
}

// Runs without php.ini, so that an extension enabled there is not loaded.
putenv('CELERY_STUB_CHECK=stub');
exec(escapeshellarg(PHP_BINARY) . ' -n ' . escapeshellarg(__FILE__), $output, $status);
if ($status !== 0) {
    fwrite(STDERR, "The stub could not be loaded:\n" . implode("\n", $output) . "\n");
    exit(2);
}
$stub = json_decode(implode("\n", $output), true, flags: JSON_THROW_ON_ERROR);

foreach ($extension as $name => $lines) {
    foreach (array_diff($lines, $stub[$name]) as $line) {
        $differences[] = "$name: only in the extension: $line";
    }
    foreach (array_diff($stub[$name], $lines) as $line) {
        $differences[] = "$name: only in the stub:      $line";
    }
}
echo $differences === [] ? "The stub matches the extension.\n" : implode("\n", $differences) . "\n";
exit($differences === [] ? 0 : 1);
