<?php

namespace CeleryTests;

use Celery\Canvas;
use Celery\Chord;
use Celery\Client;
use Celery\Group;
use Celery\GroupResult;
use Celery\Result;
use Celery\ResultInterface;
use Celery\Signature;
use Celery\TaskFailed;
use PHPUnit\Framework\Assert;

/**
 * The tasks of Celery's integration suite as signatures: `$t->add(1, 2)`, and what its tests check.
 */
final class IntegrationTasks
{
    /** The seconds until a result that must come counts as missing. */
    public const TIMEOUT = 30;

    /** A key in Redis that no other case uses. */
    public readonly string $key;

    /**
     * @param int $database the database of the broker and the results
     */
    public function __construct(public readonly Client $client, private readonly int $database)
    {
        $this->key = bin2hex(random_bytes(8));
    }

    /**
     * @param array<array-key, mixed> $arguments
     */
    public function __call(string $task, array $arguments): Signature
    {
        return $this->client->signature("t.integration.tasks.$task")->s(...$arguments);
    }

    /**
     * The database in which tasks leave traces.
     */
    public function redis(): \Redis
    {
        return Programs::redis();
    }

    public function same(mixed $expected, mixed $actual): void
    {
        Assert::assertSame($expected, $actual);
    }

    /**
     * @param list<mixed> $values
     * @return list<mixed>
     */
    public function sorted(array $values): array
    {
        sort($values);

        return $values;
    }

    /**
     * Sends a canvas and compares its result.
     */
    public function gives(mixed $expected, Canvas $canvas): void
    {
        Assert::assertSame($expected, $canvas->delay()->get(self::TIMEOUT));
    }

    /**
     * Asserts that a canvas or a result fails with one of these types of exceptions.
     */
    public function raises(string $types, Canvas|ResultInterface $it): void
    {
        try {
            ($it instanceof Canvas ? $it->delay() : $it)->get(self::TIMEOUT);
        } catch (TaskFailed $e) {
            Assert::assertContains($e->type(), explode('|', $types));

            return;
        }
        Assert::fail("no $types");
    }

    /**
     * Asserts that a chord fails with a canvas as its header, and with it as its body.
     */
    public function failsAsHeaderAndBody(Canvas $child): void
    {
        foreach ($this->chords($child) as $chord) {
            $this->raises('ExpectedException|ChordError', $chord);
        }
    }

    /**
     * Like failsAsHeaderAndBody(), with an error callback of the chord, which is called once.
     */
    public function callsErrbackAsHeaderAndBody(Canvas $child): void
    {
        foreach ($this->chords($child) as $chord) {
            $this->redis()->del($this->key);
            $this->raises('ExpectedException|ChordError', $chord->linkError($this->echoed('failed', $this->key)));
            $this->awaitList(['failed'], $this->key);
        }
    }

    /**
     * Asserts that an error callback gets the id of the body of a chord whose header fails.
     */
    public function callsMutableErrback(Canvas $child): void
    {
        $body = $this->identity()->freeze();
        $this->raises('ExpectedException|ChordError', (new Chord([$child], $body))->linkError($this->errback_old_style()));
        $this->awaitCount(1, $body->id);
    }

    /**
     * @return list<Chord>
     */
    private function chords(Canvas $child): array
    {
        return [new Chord([$child], $this->identity()), new Chord([$this->identity(42)->immutable()], $child)];
    }

    public function until(callable $condition): void
    {
        Wait::until('the condition of the case', self::TIMEOUT, $condition);
    }

    /**
     * Waits until a list in Redis holds these texts, in any order.
     */
    public function awaitList(array $expected, string $key): void
    {
        $this->until(fn () => $this->redis()->lLen($key) >= count($expected));
        Assert::assertSame($this->sorted($expected), $this->sorted($this->redis()->lRange($key, 0, -1)));
    }

    /**
     * Waits until a number in Redis has this value.
     */
    public function awaitCount(int $expected, string $key): void
    {
        $this->until(fn () => (int) $this->redis()->get($key) >= $expected);
        Assert::assertSame($expected, (int) $this->redis()->get($key));
    }

    /**
     * The number of chords whose members are being counted. Python's worker ends a count after it has called the body.
     */
    public function countedChords(): int
    {
        return count(Programs::redis($this->database)->keys('celery-taskset-meta-*.j'));
    }

    /**
     * A task that appends a text to a list.
     */
    public function echoed(int|string $text, string $key = 'echo_chamber'): Signature
    {
        return $this->redis_echo((string) $text, redis_key: $key)->immutable();
    }

    /**
     * A group of tasks that append a text each.
     */
    public function echoes(int|string ...$texts): Group
    {
        return new Group(...array_map($this->echoed(...), $texts));
    }

    /**
     * Runs a canvas whose tasks append 1 to 9 and at last `Done`: each is executed once.
     */
    public function runsEachOnce(Canvas $canvas): void
    {
        $canvas->delay()->get(self::TIMEOUT);
        $this->awaitList(['Done'], 'Done');
        Assert::assertSame(array_map(strval(...), range(1, 9)), $this->sorted($this->redis()->lRange('echo_chamber', 0, -1)));
    }

    /**
     * Reads a canvas that Python wrote: it is written again as it was, and the worker reads it.
     */
    public function rebuilds(string $nesting): void
    {
        $written = $this->{"return_nested_signature_$nesting"}()->delay()->get(self::TIMEOUT);
        Assert::assertSame($written, json_decode(json_encode(Canvas::fromArray($written)), true));
        $this->rebuild_signature(Canvas::fromArray($written))->delay()->get(self::TIMEOUT);
    }

    /**
     * The ids in the tree of a result, as often as they are in it.
     *
     * @return list<string>
     */
    public function ids_of(Result|GroupResult|null $result): array
    {
        if ($result === null) {
            return [];
        }
        $members = $result instanceof GroupResult ? array_map($this->ids_of(...), iterator_to_array($result, false)) : [];

        return [$result->id, ...$this->ids_of($result->parent), ...array_merge(...$members)];
    }

    /**
     * Checks the parents and the root of a chain with a chord in it.
     */
    public function assertParents(Result $last, string $root): void
    {
        $chord = $last->parent;
        $header = $chord->parent;
        $second = $header->parent;
        $this->same([$root, $chord->id, 51], $last->get(self::TIMEOUT));
        [$collected, [$rootId, $parentId, $value]] = $chord->get(self::TIMEOUT);
        $this->same([$root, 50], [$rootId, $value]);
        $this->same(true, in_array($parentId, array_map(fn ($it) => $it->id, iterator_to_array($header)), true));
        foreach ($collected as [$rootId, $parentId]) {
            $this->same([$root, $second->id], [$rootId, $parentId]);
        }
        $this->same([$root, $second->parent->id, 2], $second->get(self::TIMEOUT));
        $this->same([$root, null, 1], $second->parent->get(self::TIMEOUT));
    }
}
