<?php

declare(strict_types=1);

namespace CeleryBridge\Canvas;

use CeleryBridge\TaskMessage;
use Closure;
use Illuminate\Support\Str;
use InvalidArgumentException;

/**
 * Tasks side by side. Its results have the keys of its members.
 */
final class Group extends Canvas
{
    public readonly string $id;

    /**
     * @param  array<array-key, TaskMessage|Canvas>  $members
     * @param  string|null  $id  null: a fresh UUID
     */
    public function __construct(public readonly array $members, ?string $id = null)
    {
        foreach ($members as $member) {
            if ($member instanceof Canvas && $member->last() instanceof self) {
                throw new InvalidArgumentException('a member of a group has one result, and not those of another group: '
                    .'put the inner group\'s members into the outer one');
            }
        }
        $this->id = $id ?? (string) Str::uuid();
    }

    /**
     * Returns the ids and the names of the tasks whose results are those of the group.
     *
     * @return array<array-key, TaskMessage> under the keys of the members
     */
    public function outcomes(): array
    {
        return array_map(static function (TaskMessage|Canvas $member): TaskMessage {
            $last = $member instanceof TaskMessage ? $member : $member->last();
            assert($last instanceof TaskMessage);

            return $last;
        }, $this->members);
    }

    public function tasks(): array
    {
        return self::tasksOf($this->members);
    }

    public function last(): self
    {
        return $this;
    }

    public function map(Closure $change): static
    {
        return $this->with(array_map(static fn (TaskMessage|Canvas $member) => self::changed($member, $change), $this->members))
            ->withErrbacks(...array_map($change, $this->errbacks()));
    }

    public function mapFirst(Closure $change): static
    {
        return $this->with(array_map(static fn (TaskMessage|Canvas $member) => self::firstChanged($member, $change), $this->members))
            ->withErrbacks(...$this->errbacks());
    }

    /**
     * @param  array<array-key, TaskMessage|Canvas>  $members
     */
    private function with(array $members): self
    {
        return new self($members, $this->id);
    }
}
