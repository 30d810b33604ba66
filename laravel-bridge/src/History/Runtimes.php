<?php

declare(strict_types=1);

namespace CeleryBridge\History;

/**
 * How long tasks ran: a histogram with fixed classes, so that histograms of several minutes can be
 * added up. Each class ends at 1.19 times (the fourth root of 2) the end of the one before, which
 * is the precision of the percentiles. Class 0 ends at 0.1 ms, the last one at about 31 hours.
 */
final class Runtimes
{
    private const FIRST = 0.0001;

    private const PER_DOUBLING = 4;

    private const LAST = 120;

    /** @var array<int, int> the number of runtimes by class, without empty classes */
    private array $counts = [];

    public static function fromJson(?string $json): self
    {
        $runtimes = new self();
        foreach ((array) json_decode($json ?? '', true) as $class => $count) {
            if (is_int($class) && is_int($count) && $class >= 0 && $class <= self::LAST && $count > 0) {
                $runtimes->counts[$class] = $count;
            }
        }

        return $runtimes;
    }

    public function add(float $seconds): void
    {
        $class = $seconds <= self::FIRST ? 0 : (int) min(self::LAST, ceil(log($seconds / self::FIRST, 2) * self::PER_DOUBLING));
        $this->counts[$class] = ($this->counts[$class] ?? 0) + 1;
    }

    public function merge(self $other): void
    {
        foreach ($other->counts as $class => $count) {
            $this->counts[$class] = ($this->counts[$class] ?? 0) + $count;
        }
    }

    public function count(): int
    {
        return array_sum($this->counts);
    }

    /**
     * Returns the seconds within which this share of the tasks ended: the end of its class. Null
     * without any.
     *
     * @param  float  $share  such as 0.95
     */
    public function percentile(float $share): ?float
    {
        $rank = (int) ceil($share * $this->count());
        ksort($this->counts);
        foreach ($this->counts as $class => $count) {
            $rank -= $count;
            if ($rank <= 0) {
                return self::FIRST * 2 ** ($class / self::PER_DOUBLING);
            }
        }

        return null;
    }

    public function toJson(): ?string
    {
        return $this->counts === [] ? null : (string) json_encode((object) $this->counts);
    }
}
