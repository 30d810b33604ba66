<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Canvas\Chain;
use CeleryBridge\Canvas\Chord;
use CeleryBridge\Canvas\Group;
use CeleryBridge\TaskMessage;
use Closure;
use PHPUnit\Framework\Assert;

/**
 * The assertions of the fake about chains, groups and chords, with names like those of
 * `Bus::fake()`.
 *
 * A task is the name of a task, the class of a job, or a test; {@see TaskFilter} says what a test
 * gets. A list of tasks in the place of a task is a group.
 */
trait AssertsCanvases
{
    abstract protected function recorder(): Recorder;

    /**
     * Asserts that a chain of exactly these steps was posted.
     *
     * @param  list<string|Closure|list<string|Closure>>  $steps  a list is a group among the steps
     */
    public function assertChained(array $steps): void
    {
        $this->assertCanvas('A chain', fn (Canvas $canvas): bool => $canvas instanceof Chain
            && $this->areAll($canvas->steps, $steps));
    }

    /**
     * Asserts that a group of exactly these members was posted, or one that a test accepts.
     *
     * @param  list<string|Closure>|Closure(Group): mixed  $members
     */
    public function assertGrouped(array|Closure $members): void
    {
        $this->assertCanvas('A group', fn (Canvas $canvas): bool => $canvas instanceof Group && ($members instanceof Closure
            ? (bool) $members($canvas)
            : $this->areAll(array_values($canvas->members), $members)));
    }

    /**
     * Asserts that a chord of exactly this header and body was posted.
     *
     * @param  list<string|Closure>  $header
     */
    public function assertChord(array $header, string|Closure $body): void
    {
        $this->assertCanvas('A chord', fn (Canvas $canvas): bool => $canvas instanceof Chord
            && $this->areAll(array_values($canvas->header->members), $header)
            && $this->areAll([$canvas->body], [$body]));
    }

    public function assertNoCanvasPosted(): void
    {
        Assert::assertSame(
            [],
            $this->recorder()->canvases(),
            'Chains, groups or chords were posted, and should not have been.'.$this->describeCanvases(),
        );
    }

    /**
     * Returns the chains, groups and chords posted so far, in their order.
     *
     * @return list<Canvas>
     */
    public function canvases(): array
    {
        return $this->recorder()->canvases();
    }

    /**
     * @param  Closure(Canvas): bool  $matches
     */
    private function assertCanvas(string $what, Closure $matches): void
    {
        Assert::assertNotSame(
            [],
            array_filter($this->recorder()->canvases(), $matches),
            "{$what} of these tasks was not posted.".$this->describeCanvases(),
        );
    }

    /**
     * @param  list<TaskMessage|Canvas>  $members
     * @param  list<mixed>  $expected
     */
    private function areAll(array $members, array $expected): bool
    {
        if (count($members) !== count($expected)) {
            return false;
        }
        foreach (array_values($expected) as $position => $one) {
            $member = $members[$position];
            $is = match (true) {
                $member instanceof TaskMessage => ! is_array($one)
                    && (new TaskFilter($one))->matches(PostedTask::fromMessage($member, '')),
                $member instanceof Group => is_array($one) && $this->areAll(array_values($member->members), $one),
                default => false,
            };
            if (! $is) {
                return false;
            }
        }

        return true;
    }

    private function describeCanvases(): string
    {
        $list = array_map(static fn (Canvas $canvas): string => self::describeMember($canvas), $this->recorder()->canvases());

        return ' Posted: '.(implode('; ', $list) ?: 'none').'.';
    }

    private static function describeMember(TaskMessage|Canvas $member): string
    {
        $all = static fn (array $members): string => implode(', ', array_map(self::describeMember(...), $members));

        return match (true) {
            $member instanceof TaskMessage => $member->name,
            $member instanceof Chain => "chain({$all($member->steps)})",
            $member instanceof Group => "group({$all(array_values($member->members))})",
            $member instanceof Chord => "chord({$all(array_values($member->header->members))}; {$all([$member->body])})",
            default => $member::class,
        };
    }
}
