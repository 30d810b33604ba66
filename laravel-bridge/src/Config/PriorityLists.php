<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use CeleryBridge\Exceptions\InvalidConfiguration;
use SensitiveParameter;

/**
 * How the lists of a queue on Redis are named: kombu's transport options priority_steps and sep. They
 * must be equal in every program that uses the queue. A missing option has the value of php.ini.
 */
final class PriorityLists
{
    /**
     * @param  list<int>|null  $steps
     */
    private function __construct(
        private readonly ?array $steps = null,
        private readonly ?string $separator = null,
    ) {
    }

    /**
     * @param  string  $name  the connection's name, for messages
     * @param  mixed  $steps  a list of numbers, or text that commas separate
     */
    public static function fromConfig(
        string $name,
        #[SensitiveParameter] mixed $steps,
        #[SensitiveParameter] mixed $separator,
    ): ?self {
        $steps = $steps === null || $steps === '' ? null : self::numbers($name, $steps);
        $separator = $separator === null || $separator === '' ? null : $separator;
        if ($separator !== null && (! is_string($separator) || strlen($separator) > 8)) {
            throw InvalidConfiguration::in($name, 'sep must be a string of 1 to 8 bytes');
        }

        return $steps === null && $separator === null ? null : new self($steps, $separator);
    }

    /**
     * Returns the keys that the extension's connection arrays take.
     *
     * @return array{priority_steps?: list<int>, sep?: string}
     */
    public function toArguments(): array
    {
        return array_filter(
            ['priority_steps' => $this->steps, 'sep' => $this->separator],
            static fn (mixed $value): bool => $value !== null,
        );
    }

    /**
     * @return list<int>
     */
    private static function numbers(string $name, #[SensitiveParameter] mixed $steps): array
    {
        $given = is_string($steps) ? explode(',', $steps) : $steps;
        $numbers = [];

        foreach (is_array($given) ? $given : ['not a list'] as $step) {
            $digit = trim((string) (is_scalar($step) ? $step : ''));
            if (preg_match('/^[0-9]$/D', $digit) !== 1) {
                throw InvalidConfiguration::in($name, 'priority_steps is a list of numbers from 0 to 9, such as 0,3,6,9');
            }
            $numbers[] = (int) $digit;
        }

        $ascending = array_values(array_unique($numbers));
        sort($ascending);
        if ($numbers !== $ascending || ($numbers[0] ?? null) !== 0) {
            throw InvalidConfiguration::in($name, 'the priority_steps must ascend from 0, and none may come twice');
        }

        return $numbers;
    }
}
