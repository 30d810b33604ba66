<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use ArrayIterator;
use CeleryBridge\Attributes\CeleryTask;
use CeleryBridge\Exceptions\ArgumentCannotBeSent;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Jobs\CeleryTaskJob;
use CeleryBridge\Tests\Support\TestCase;
use DateInterval;
use DateTime;
use DateTimeImmutable;
use DateTimeZone;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Database\Eloquent\Collection as Models;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\LazyCollection;
use Illuminate\Support\Str;
use JsonSerializable;
use RuntimeException;
use stdClass;

/**
 * What becomes of the arguments of a task.
 */
final class ArgumentsTest extends TestCase
{
    public function test_models_are_their_keys_at_any_depth(): void
    {
        [$one, $two] = [self::row(1), self::row(2)];

        $this->assertSame([[1, 2]], $this->posted([new Models([$one, $two])]));
        $this->assertSame([[2]], $this->posted([(new Models([$one, $two]))->filter(fn (Entry $row): bool => $row->id === 2)]));
        $this->assertSame([['a' => 1, 'b' => 2]], $this->posted([(new Models(['a' => $one, 'b' => $two]))]));
        $this->assertSame([[1, 2]], $this->posted([collect([$one, $two])]));
        $this->assertSame([[1, 2]], $this->posted([LazyCollection::make(fn () => yield from [$one, $two])]));
        $this->assertSame([[1, [2]]], $this->posted([[$one, [$two]]]));
        $this->assertSame(['rows' => [2], 'of' => ['row' => 1]], $this->posted(['rows' => [$two], 'of' => ['row' => $one]]));
        $this->assertEquals([(object) ['row' => 1]], $this->posted([(object) ['row' => $one]]));
        $this->assertEquals([(object) ['row' => 1, 'note' => 'x']], $this->posted([new Note($one, 'x')]));
        $this->assertSame([[1]], $this->posted([new Listing([$one])]));
        $this->assertSame([[]], $this->posted([new Models()]));
    }

    public function test_a_jobs_models_are_their_keys_by_every_way(): void
    {
        Celery::fake();
        $rows = new Models([self::row(1), self::row(2)]);
        $this->createTasksTable();

        // Laravel loads the models of a job again, so that they must exist.
        $rows->each(fn (Entry $row) => $row->forceFill(['name' => 'x'])->save());
        Totals::dispatch($rows, [$rows[1]])->onConnection('celery');
        Totals::dispatchSync($rows, [$rows[1]]);

        $this->assertSame([[[1, 2], [2]], [[1, 2], [2]]], Celery::posted()->pluck('args')->all());
    }

    public function test_times_are_iso_8601(): void
    {
        $berlin = new DateTimeZone('Europe/Berlin');

        $this->assertSame(
            ['2026-11-22T07:40:20.996002+00:00', '2026-07-01T12:00:00.000000+02:00', '2026-11-22T07:40:20.996002+00:00', 'Europe/Berlin'],
            $this->posted([
                new DateTimeImmutable('2026-11-22 07:40:20.996002 UTC'),
                new DateTime('2026-07-01 12:00', $berlin),
                Carbon::parse('2026-11-22 07:40:20.996002 UTC'),
                $berlin,
            ]),
        );
        $this->assertSame([['at' => ['1969-12-31T23:59:59.500000+00:00']]], $this->posted([['at' => [new DateTime('@-0.5')]]]));
    }

    public function test_plain_values_stay_as_they_are(): void
    {
        $values = [null, true, 0, -1.5, '', 'ü', [], ['x' => [1, [2]]], [5 => 'gap']];

        $this->assertSame($values, $this->posted($values));
        $this->assertEquals([new stdClass()], $this->posted([new stdClass()]));
        $this->assertSame(['m', ['k' => 'text']], $this->posted([Size::Medium, collect(['k' => Str::of('text')])]));
    }

    /**
     * @dataProvider unfit
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('unfit')] // PHPUnit 12 reads no comments.
    public function test_what_would_arrive_as_something_else_is_refused_by_name(mixed $value, string $said): void
    {
        foreach ([[$value, '0'], [['deep' => [$value]], '0.deep.0']] as [$argument, $path]) {
            try {
                $this->posted([$argument]);
                $this->fail('it was posted');
            } catch (ArgumentCannotBeSent $e) {
                $this->assertStringContainsString("the argument {$path} of the task [t] cannot be sent", $e->getMessage());
                $this->assertStringContainsString($said, $e->getMessage());
            }
        }
        Celery::assertNothingPosted();
    }

    /**
     * @return iterable<string, array{mixed, string}>
     */
    public static function unfit(): iterable
    {
        yield 'a closure' => [static fn (): int => 1, 'it is a Closure'];
        yield 'an object without properties' => [new class () {
            private int $hidden = 1;
        }, 'would arrive empty'];
        yield 'an interval' => [new DateInterval('PT1M'), 'pass seconds'];
        yield 'an enum without values' => [Plain::One, 'pass its name'];
        yield 'an exception' => [new RuntimeException('s3cret'), 'pass its message'];
        yield 'an iterator' => [new ArrayIterator([1]), 'pass an array'];
        yield 'a generator' => [(static fn () => yield 1)(), 'pass an array'];
        yield 'a file' => [fopen('php://memory', 'r'), 'resource (stream)'];
        yield 'a model that was not saved' => [new Entry(), 'save it first'];
    }

    public function test_a_value_that_contains_itself_is_refused(): void
    {
        $object = new stdClass();
        $object->self = $object;

        $this->expectException(ArgumentCannotBeSent::class);
        $this->expectExceptionMessage('contains itself');
        $this->posted([$object]);
    }

    public function test_a_refused_job_can_be_dispatched_again(): void
    {
        Celery::fake();

        foreach ([fn () => Refused::dispatch(fn () => 1), fn () => Refused::dispatch(fn () => 1)] as $dispatch) {
            try {
                // Its destructor dispatches the job.
                $dispatch()->onConnection('celery');
                $this->fail('the lock of the refused job was kept');
            } catch (ArgumentCannotBeSent $e) {
                $this->assertStringContainsString('Closure', $e->getMessage());
            }
        }
    }

    public function test_a_job_is_refused_before_the_commit(): void
    {
        Celery::fake()->respectTransactions();

        foreach (['celery', 'sync'] as $connection) {
            DB::beginTransaction();
            try {
                Refused::dispatch(new DateInterval('PT1M'))->onConnection($connection);
                $this->fail("it waits for the commit on {$connection}");
            } catch (ArgumentCannotBeSent) {
                $this->assertSame(1, DB::transactionLevel());
            } finally {
                DB::rollBack();
            }
        }
    }

    public function test_headers_are_treated_likewise(): void
    {
        Celery::fake();
        Celery::task('t')->with(['tenant' => self::row(7), 'since' => new DateTimeImmutable('2026-01-01 UTC')])->post();

        $this->assertSame(
            ['tenant' => 7, 'since' => '2026-01-01T00:00:00.000000+00:00'],
            Celery::posted()->sole()->fields,
        );
    }

    public function test_the_message_has_these_values(): void
    {
        $broker = $this->broker();
        config(['celery.connections.default.url' => $broker->url]);

        Celery::post('t', [new Models([self::row(1)]), new DateTimeImmutable('2026-01-01 UTC'), new Note(self::row(2), 'x')]);

        $this->assertEquals(
            [[1], '2026-01-01T00:00:00.000000+00:00', (object) ['row' => 2, 'note' => 'x']],
            $broker->messages('celery')[0]->args,
        );
    }

    /**
     * @param  array<array-key, mixed>  $args
     * @return array<array-key, mixed>
     */
    private function posted(array $args): array
    {
        Celery::fake();
        Celery::post('t', $args);

        return Celery::posted()->sole()->args;
    }

    private static function row(int $id): Entry
    {
        $row = new Entry();
        $row->id = $id;
        $row->name = 'a name that is not posted';

        return $row;
    }
}

final class Entry extends Model
{
    protected $table = 'tasks';

    protected $guarded = [];
}

final class Note
{
    public function __construct(public readonly Entry $row, public readonly string $note, private readonly int $hidden = 1)
    {
    }
}

final class Listing implements JsonSerializable
{
    /**
     * @param  list<Entry>  $rows
     */
    public function __construct(private readonly array $rows)
    {
    }

    public function jsonSerialize(): mixed
    {
        return collect($this->rows);
    }
}

#[CeleryTask('totals')]
final class Totals extends CeleryTaskJob
{
    /**
     * @param  Models<int, Entry>  $rows
     * @param  list<Entry>  $others
     */
    public function __construct(public Models $rows, public array $others)
    {
    }
}

#[CeleryTask('t')]
final class Refused extends CeleryTaskJob implements ShouldBeUnique
{
    public int $uniqueFor = 60;

    public function __construct(public mixed $unfit)
    {
    }
}

enum Size: string
{
    case Medium = 'm';
}

enum Plain
{
    case One;
}
