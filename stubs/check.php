<?php

/**
 * Compares celery.stub.php with the loaded extension, by reflection in two processes.
 *
 *     php -d extension=/path/to/libcelery.so stubs/check.php
 *
 * Exits with 1 and shows the differences if there are any.
 */

declare(strict_types=1);

/** The names under `Celery\` that are second names of global classes. Reflection lists them under their first names. */
const SECOND_NAMES = [
    'CeleryAbstract', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException', 'CeleryPublishException',
    'CeleryConnectionException',
];

function type(?ReflectionType $type): string
{
    return $type === null ? '' : (string) $type;
}

/** @return list<string> */
function describe_attributes(ReflectionMethod|ReflectionParameter $of): array
{
    return array_map(fn (ReflectionAttribute $attribute) => '#[' . $attribute->getName() . ']', $of->getAttributes());
}

function describe_parameter(ReflectionParameter $parameter): string
{
    $attributes = describe_attributes($parameter);
    $default = $parameter->isDefaultValueAvailable() ? ' = ' . var_export($parameter->getDefaultValue(), true) : '';

    return trim(implode(' ', [...$attributes, type($parameter->getType()), ($parameter->isVariadic() ? '...$' : '$') . $parameter->getName()])) . $default;
}

/** @return list<string> */
function describe_class(ReflectionClass $class): array
{
    $modifiers = implode(' ', Reflection::getModifierNames($class->getModifiers() & ~ReflectionClass::IS_IMPLICIT_ABSTRACT));
    $kind = $class->isInterface() ? 'interface' : ($class->isEnum() ? 'enum' : 'class');
    $parent = $class->getParentClass();
    $interfaces = $class->getInterfaceNames();
    sort($interfaces);
    $lines = [trim("$modifiers $kind") . ($parent ? ' extends ' . $parent->getName() : '')];
    $lines[] = 'implements ' . implode(', ', $interfaces);
    foreach ($class->getMethods() as $method) {
        if ($method->getDeclaringClass()->getName() !== $class->getName() || ($class->isEnum() && in_array($method->getName(), ['cases', 'from', 'tryFrom'], true))) {
            continue;
        }
        $lines[] = sprintf(
            '%s function %s(%s)%s',
            implode(' ', [...describe_attributes($method), ...Reflection::getModifierNames($method->getModifiers())]),
            $method->getName(),
            implode(', ', array_map(describe_parameter(...), $method->getParameters())),
            $method->hasReturnType() ? ': ' . type($method->getReturnType()) : '',
        );
    }
    foreach ($class->getProperties() as $property) {
        // Private properties are not a part of the API.
        if ($property->getDeclaringClass()->getName() === $class->getName() && !$property->isPrivate() && !$class->isEnum()) {
            $modifiers = implode(' ', Reflection::getModifierNames($property->getModifiers()));
            $name = trim(type($property->getType()) . " \${$property->getName()}");
            $lines[] = "$modifiers $name = " . var_export($property->getDefaultValue(), true);
        }
    }
    foreach ($class->getConstants() as $name => $value) {
        $lines[] = "const $name = " . var_export($value, true);
    }
    sort($lines);

    return $lines;
}

/**
 * @param list<string> $names
 * @return array<string, list<string>>
 */
function describe(array $names): array
{
    $described = [];
    foreach ($names as $name) {
        $described[$name] = describe_class(new ReflectionClass($name));
    }
    foreach (SECOND_NAMES as $name) {
        $name = "Celery\\$name";
        $described[$name] = ['is ' . (class_exists($name, false) ? (new ReflectionClass($name))->getName() : '(missing)')];
    }
    ksort($described);

    return $described;
}

if (getenv('CELERY_STUB_CHECK') === 'stub') {
    if (extension_loaded('celery')) {
        fwrite(STDERR, "The extension is loaded by php.ini, so the stub cannot be loaded.\n");
        exit(2);
    }
    $declared = fn (): array => [...get_declared_classes(), ...get_declared_interfaces()];
    $others = $declared();
    require __DIR__ . '/celery.stub.php';
    $names = array_filter(array_diff($declared(), $others), fn (string $name): bool => (new ReflectionClass($name))->getName() === $name);
    echo json_encode(describe(array_values($names)), JSON_THROW_ON_ERROR);
    exit(0);
}

if (!extension_loaded('celery')) {
    fwrite(STDERR, "Load the extension: php -d extension=/path/to/libcelery.so stubs/check.php\n");
    exit(2);
}
$names = array_map(fn (string $name): string => (new ReflectionClass($name))->getName(), (new ReflectionExtension('celery'))->getClassNames());
$extension = describe(array_values(array_unique($names)));
$differences = [];

// Runs without php.ini, so that an extension enabled there is not loaded.
putenv('CELERY_STUB_CHECK=stub');
exec(escapeshellarg(PHP_BINARY) . ' -n ' . escapeshellarg(__FILE__), $output, $status);
if ($status !== 0) {
    fwrite(STDERR, "The stub could not be loaded:\n" . implode("\n", $output) . "\n");
    exit(2);
}
$stub = json_decode(implode("\n", $output), true, flags: JSON_THROW_ON_ERROR);

foreach ($extension + $stub as $name => $_) {
    foreach (array_diff($extension[$name] ?? [], $stub[$name] ?? []) as $line) {
        $differences[] = "$name: only in the extension: $line";
    }
    foreach (array_diff($stub[$name] ?? [], $extension[$name] ?? []) as $line) {
        $differences[] = "$name: only in the stub:      $line";
    }
}
echo $differences === [] ? "The stub matches the extension.\n" : implode("\n", $differences) . "\n";
exit($differences === [] ? 0 : 1);
