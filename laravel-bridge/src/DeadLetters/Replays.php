<?php

declare(strict_types=1);

namespace CeleryBridge\DeadLetters;

use Celery\DeadLetters;
use CeleryConnectionException;
use Throwable;

/**
 * Puts dead letters back into their queues, one after the other, and says how it went.
 */
final class Replays
{
    /** @var list<string> */
    public array $done = [];

    /** @var list<string> those that were put back or deleted before */
    public array $gone = [];

    /** @var array<string, string> why the others could not be put back, by place */
    public array $refused = [];

    public function __construct(private readonly DeadLetters $letters)
    {
    }

    /**
     * @param  list<string>  $places
     */
    public function replay(array $places): void
    {
        foreach ($places as $number => $place) {
            try {
                if ($this->letters->replay($place)) {
                    $this->done[] = $place;
                } else {
                    $this->gone[] = $place;
                }
            } catch (CeleryConnectionException $e) {
                // Each further one would wait for the broker, too.
                $this->refused += array_fill_keys(array_slice($places, $number), $e->getMessage());

                return;
            } catch (Throwable $e) {
                $this->refused[$place] = $e->getMessage();
            }
        }
    }

    public function areAllDone(): bool
    {
        return $this->gone === [] && $this->refused === [];
    }

    /** Returns the HTTP status that fits. */
    public function status(): int
    {
        return match (true) {
            $this->areAllDone() => 200,
            $this->refused !== [] => 502,
            default => 409,
        };
    }

    public function summary(): string
    {
        $parts = [count($this->done) === 1 ? '1 message was put back into its queue.' : count($this->done).' messages were put back into their queues.'];
        if ($this->gone !== []) {
            $parts[] = count($this->gone).' had been put back or deleted before.';
        }
        if ($this->refused !== []) {
            $parts[] = count($this->refused).' could not be put back: '.implode(' ', array_unique($this->refused));
        }

        return implode(' ', $parts);
    }
}
