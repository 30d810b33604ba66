<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use InvalidArgumentException;
use Throwable;

/**
 * The common parts of the commands: answers in words or JSON, and the exit codes.
 *
 * 0: done; 1: the task failed, or the command could not do its work; 2: the task has not ended in time.
 */
trait ShowsResults
{
    use SpeaksInComponents;

    private const NOT_ENDED = 2;

    private function showResult(Result $result, float $wait): int
    {
        try {
            $value = $result->get($wait);
        } catch (ResultTimedOut $e) {
            $status = $result->status();
            $this->show(['id' => $result->id(), 'status' => $status], "{$result->id()} {$status}");

            return self::NOT_ENDED;
        } catch (TaskFailed $e) {
            $this->show(
                [
                    'id' => $result->id(),
                    'status' => $e->status,
                    'error' => $e->getMessage(),
                    'traceback' => $e->traceback,
                ],
                trim("{$e->getMessage()}\n{$e->traceback}"),
            );

            return self::FAILURE;
        }

        $this->show(
            ['id' => $result->id(), 'status' => 'SUCCESS', 'result' => $value],
            "{$result->id()} SUCCESS\n".$this->json($value, JSON_PRETTY_PRINT),
        );

        return self::SUCCESS;
    }

    /**
     * @param  array<string, mixed>  $data
     */
    private function answer(array $data, string $words): void
    {
        if ($this->option('json')) {
            $this->line($this->json($data));
        } else {
            $this->inform($words);
        }
    }

    /**
     * Shows the data of a result, which other programs may read from its lines.
     *
     * @param  array<string, mixed>  $data
     */
    private function show(array $data, string $lines): void
    {
        $this->line($this->option('json') ? $this->json($data) : $lines);
    }

    private function json(mixed $value, int $flags = 0): string
    {
        return (string) json_encode(
            $value,
            $flags | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE,
        );
    }

    private function fault(Throwable $e): int
    {
        if ($this->option('json')) {
            $this->line($this->json(['error' => $e->getMessage()]));
        } else {
            $this->complain($e->getMessage());
        }

        return self::FAILURE;
    }

    private function number(string $option): ?float
    {
        $value = $this->option($option);
        if ($value === null) {
            return null;
        }
        if (! is_numeric($value) || $value < 0) {
            throw new InvalidArgumentException("--{$option} must be a number of seconds");
        }

        return (float) $value;
    }
}
