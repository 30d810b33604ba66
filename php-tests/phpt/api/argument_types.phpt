--TEST--
Arguments of every type are taken and refused as by methods with these signatures written in PHP
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, PublishMode, RetryPolicy, Serializer, Signature, State, TaskFailed, Value};
use Celery\Testing\FakeClient;

/** Returns a PHP literal of a default value. */
function literal(mixed $value): string
{
    return $value === INF ? 'INF' : var_export($value, true);
}

/** Returns the source of a method with the signature of $method, which returns its arguments. */
function twin(ReflectionMethod $method): string
{
    $parameters = array_map(fn (ReflectionParameter $parameter): string => preg_replace('/\b(?=[A-Z]\w*\\\\|[A-Z])/', '\\\\', preg_replace('/\bself\b/', 'mixed', (string) $parameter->getType()), 1)
        . ($parameter->isVariadic() ? ' ...$' : ' $') . $parameter->getName()
        . ($parameter->isDefaultValueAvailable() ? ' = ' . literal($parameter->getDefaultValue()) : ''), $method->getParameters());
    // Names of classes in a union need a backslash each.
    $parameters = array_map(fn (string $text): string => preg_replace('/(?<=\|)(?=[A-Z])/', '\\', $text), $parameters);

    return 'public ' . ($method->isStatic() ? 'static ' : '') . 'function ' . $method->getName() . '(' . implode(', ', $parameters) . ') {}';
}

$calls = [];
foreach ([0, 1] as $strict) {
    $calls[] = eval("declare(strict_types=$strict); return function (?object \$object, string \$class, string \$method, array \$arguments): void {
        if (\$object !== null) { \$object->\$method(...\$arguments); }
        elseif (\$method === '__construct') { new \$class(...\$arguments); }
        else { \$class::\$method(...\$arguments); }
    };");
}

/** Returns what a call says about the types of its arguments: a TypeError, and notices. */
function answer(Closure $call, mixed ...$arguments): string
{
    $notices = [];
    set_error_handler(function (int $level, string $message) use (&$notices): bool {
        $notices[] = $message;

        return true;
    });
    try {
        $call(...$arguments);
        $answer = 'taken';
    } catch (TypeError $error) {
        // "called in" is only said of functions written in PHP. What an array contains is not declared.
        $answer = !str_contains($error->getMessage(), 'must be of type') ? 'taken' : preg_replace(['/^.*?(?=Argument #)/', '/, called in .*/'], '', $error->getMessage());
    } catch (Throwable) {
        $answer = 'taken';
    }
    restore_error_handler();

    return implode('; ', [$answer, ...$notices]);
}

class Text
{
    public function __toString(): string
    {
        return '7';
    }
}

$client = new Client('redis://127.0.0.1:1');
$signature = new Signature('a', [INF]);
$values = [
    null, true, false, 0, 1, -1, PHP_INT_MAX, 1.0, 1.5, -0.0, 1e30, INF, NAN, '', 'abc', '5', '5.5', ' 5', '5 ', '5abc', '0x1A', '1e3', "\xff", [], [1],
    ['a' => 1], [1 => 1], new stdClass(), fn () => null, 'strlen', new DateTime(), new DateTimeImmutable(), new DateInterval('PT1S'), new DateTimeZone('UTC'),
    Serializer::Json, State::Pending, PublishMode::Once, new Text(), new RetryPolicy(), $signature, new ArrayIterator([]), $client, new TaskFailed(), fopen('php://memory', 'r'),
];
// Arguments with which a call reads the others and ends without sending.
$others = [
    'task' => '', 'canvas' => $signature, 'client' => $client, 'items' => [], 'bytes' => '', 'number' => '', 'uuid' => '', 'date' => new DateTime(),
    'type' => '', 'value' => '', 'id' => '', 'size' => 1, 'tasks' => [], 'ids' => [], 'result' => null,
];
$methods = [];
foreach ([Client::class, Signature::class, RetryPolicy::class, Value::class, TaskFailed::class, FakeClient::class] as $class) {
    foreach ((new ReflectionClass($class))->getMethods(ReflectionMethod::IS_PUBLIC) as $method) {
        $object = match (true) {
            $method->isStatic() || $method->isConstructor() => null,
            $class === Client::class => $client,
            $class === Signature::class => $signature,
            $class === Value::class => Value::bytes(''),
            default => new $class(),
        };
        $skipped = ['__wakeup', '__unserialize', 'willThrow', 'flush', 'purge', 'queueLengths', 'control', 'events', 'groupResult', 'fromCelery', 'fromArray'];
        if ($method->getNumberOfParameters() > 0 && !in_array($method->getName(), $skipped, true)) {
            $methods[] = [$class, $method, $object];
        }
    }
}
$compared = 0;
foreach ($methods as $index => [$class, $method, $object]) {
    eval("class Twin$index { " . twin($method) . ' }');
    $twin = "Twin$index";
    foreach ($method->getParameters() as $position => $parameter) {
        $before = [];
        foreach ($method->getParameters() as $other) {
            if (!$other->isOptional() && $other->getName() !== $parameter->getName()) {
                $before[$other->getName()] = $others[$other->getName()];
            }
        }
        if ($method->getName() === 'sendTask' && $parameter->getName() !== 'timeout') {
            $before['timeout'] = -1;
        }
        foreach ($values as $value) {
            $name = $parameter->getName();
            $arguments = $parameter->isVariadic() ? [$value] : [...$before, $name => $value];
            foreach ($calls as $strict => $call) {
                $ours = answer($call, $object, $class, $method->getName(), $arguments);
                $theirs = answer($call, $object === null ? null : (new ReflectionClass($twin))->newInstanceWithoutConstructor(), $twin, $method->getName(), $arguments);
                $compared++;
                if ($ours !== $theirs) {
                    echo "$class::{$method->getName()}(\$$name: ", get_debug_type($value), is_scalar($value) ? ' ' . var_export($value, true) : '', "), strict_types=$strict:\n    ours:  $ours\n    PHP's: $theirs\n";
                }
            }
        }
    }
}
echo count($methods) > 20 ? 'enough' : count($methods), ' methods, ', $compared > 10000 ? 'enough' : $compared, " calls\n";
?>
--EXPECT--
enough methods, enough calls
