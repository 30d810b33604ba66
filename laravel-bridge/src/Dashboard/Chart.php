<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

/**
 * The shapes of a small chart, for inline SVG: stacked bars, or lines with gaps. Its view has the
 * colours.
 */
final class Chart
{
    public const WIDTH = 720;

    public const HEIGHT = 120;

    public readonly bool $isEmpty;

    /**
     * @param  array<array-key, list<array{x: float, y: float, width: float, height: float}>>  $bars  by series
     * @param  array<array-key, list<string>>  $lines  by series: the points of each unbroken piece
     */
    private function __construct(public readonly float $highest, public readonly array $bars, public readonly array $lines)
    {
        $this->isEmpty = array_filter([...$bars, ...$lines]) === [];
    }

    /** @return list<array-key> */
    public function names(): array
    {
        return array_keys($this->bars === [] ? $this->lines : $this->bars);
    }

    /** Returns the number of a series' colour. Bars have those of success and failure. */
    public function colour(int $series): int
    {
        return $this->bars === [] ? $series + 2 : $series;
    }

    /** @param  array<array-key, list<int>>  $series  the first one is at the bottom */
    public static function bars(array $series): self
    {
        $sums = $series === [] ? [] : array_map(static fn (?int ...$parts): int => array_sum($parts), ...array_values($series));
        $highest = (float) max([1, ...$sums]);
        $bars = [];
        $below = array_fill(0, count($sums), 0);
        $step = self::WIDTH / max(1, count($sums));
        foreach ($series as $name => $values) {
            $bars[$name] = [];
            foreach ($values as $number => $value) {
                if ($value > 0) {
                    $height = self::HEIGHT * $value / $highest;
                    $below[$number] += $height;
                    $bars[$name][] = [
                        'x' => round($number * $step, 1), 'y' => round(self::HEIGHT - $below[$number], 1),
                        'width' => round($step * 0.8, 1), 'height' => round($height, 1),
                    ];
                }
            }
        }

        return new self($highest, $bars, []);
    }

    /** @param  array<array-key, list<int|float|null>>  $series */
    public static function lines(array $series): self
    {
        $all = array_filter(array_merge(...array_values($series)), static fn ($value): bool => $value !== null);
        $highest = $all === [] || max($all) <= 0 ? 1.0 : (float) max($all);
        $lines = [];
        foreach ($series as $name => $values) {
            $step = self::WIDTH / max(1, count($values));
            $pieces = [[]];
            foreach ($values as $number => $value) {
                if ($value === null) {
                    $pieces[] = [];

                    continue;
                }
                $x = round(($number + 0.4) * $step, 1);
                $y = round(self::HEIGHT - self::HEIGHT * $value / $highest, 1);
                $pieces[count($pieces) - 1][] = "{$x},{$y}";
            }
            $pieces = array_filter($pieces, static fn (array $piece): bool => $piece !== []);
            // A line of one point is not drawn, so it gets a second one.
            $lines[$name] = array_values(array_map(
                static fn (array $piece): string => implode(' ', count($piece) === 1 ? [...$piece, ...$piece] : $piece),
                $pieces,
            ));
        }

        return new self($highest, [], $lines);
    }
}
