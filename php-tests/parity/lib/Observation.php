<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * Turns the outcome of a call into plain JSON data by which two runs can be compared.
 *
 * JSON alone would lose what matters to PHP code: 1 and 1.0, an array and an object, the class of
 * an exception. So a float, a map and an object each become a map with one entry named after the
 * kind; lists and other scalars stay. Sentences are never kept, only the facts that a message
 * names.
 */
final class Observation
{
    /** @var array<string, string> ids met in this case => their names in the transcript */
    private array $names = [];

    /** @var list<string> kinds of warnings since the last answer */
    private array $warnings = [];

    /** Gives $id the name $name from now on; an id that has a name keeps it. */
    public function name(string $id, string $name): void
    {
        $this->names += [$id => $name];
    }

    public function value(mixed $value): mixed
    {
        return match (true) {
            is_string($value) => $this->names === [] ? $value : strtr($value, $this->names),
            is_float($value) => ['float' => var_export($value, true)],
            is_array($value) && array_is_list($value) => array_map($this->value(...), $value),
            is_array($value) => ['array' => $this->entries($value)],
            $value instanceof \stdClass => ['stdClass' => $this->entries(get_object_vars($value))],
            $value instanceof \Throwable => $this->thrown($value, []),
            is_object($value) => ['object' => $value::class],
            is_resource($value) => ['resource' => true],
            default => $value,
        };
    }

    /**
     * Returns the answer of $call: its value or its exception, and the warnings it raised.
     *
     * @param list<string> $facts words whose presence in an exception's message is part of the answer
     */
    public function answer(callable $call, array $facts = []): array
    {
        $this->warnings = [];
        set_error_handler($this->warned(...));
        // Newer PHPUnit versions switch most levels off while a test runs.
        $level = error_reporting(E_ALL);
        try {
            $answer = ['returned' => $this->value($call())];
        } catch (\Throwable $thrown) {
            $answer = $this->thrown($thrown, $facts);
        } finally {
            error_reporting($level);
            restore_error_handler();
        }
        if ($this->warnings !== []) {
            $answer['warned'] = $this->warnings;
        }

        return $answer;
    }

    private function entries(array $entries): array
    {
        $seen = [];
        foreach ($entries as $key => $value) {
            $seen[strtr((string) $key, $this->names)] = $this->value($value);
        }

        return $seen;
    }

    private function thrown(\Throwable $thrown, array $facts): array
    {
        $answer = [
            'threw' => $thrown::class,
            'parents' => array_values(array_filter(class_parents($thrown), fn (string $class) => str_starts_with($class, 'Celery'))),
            'code' => $thrown->getCode(),
        ];
        if ($facts !== []) {
            $answer['message names'] = array_values(array_filter($facts, fn (string $fact) => str_contains($thrown->getMessage(), $fact)));
        }

        return $answer;
    }

    /** Deprecations depend on PHP's version, not on the library's behaviour. */
    private function warned(int $level): bool
    {
        if (error_reporting() & $level & ~(E_DEPRECATED | E_USER_DEPRECATED)) {
            $this->warnings[] = match ($level) {
                E_WARNING, E_USER_WARNING => 'warning',
                E_NOTICE, E_USER_NOTICE => 'notice',
                default => "level $level",
            };
        }

        return true;
    }
}
