<?php

namespace CeleryTests\Interop;

use Celery\Chain;
use Celery\Client;
use Celery\Group;
use Celery\GroupResult;
use Celery\Result;
use Celery\ResultSet;
use Celery\TaskFailed;
use CeleryTests\Programs;
use CeleryTests\WithEachWorker;
use PHPUnit\Framework\TestCase;

/**
 * Results of real workers, and groups that one language saves and the other restores.
 */
class ResultsTest extends TestCase
{
    use WithEachWorker;

    private const OURS = 'playground';
    private const FIRST = 3;

    private function client(string $worker, int $db): Client
    {
        self::start($worker, $db);

        return new Client(Programs::redisUrl($db));
    }

    /** Runs groups.py, and returns what it prints. */
    private function python(string $worker, int $db, string ...$arguments): mixed
    {
        $version = $worker === self::OURS ? '5.7' : $worker;
        $process = proc_open(
            [Programs::python($version), 'groups.py', ...$arguments],
            [1 => ['pipe', 'w']],
            $pipes,
            Programs::root() . '/php-tests/interop/python',
            Programs::pythonEnvironment($db) + getenv()
        );
        $output = stream_get_contents($pipes[1]);
        proc_close($process);

        return json_decode($output, true, 512, JSON_THROW_ON_ERROR);
    }

    /** Returns the ids of a result as groups.py does. */
    private function described(Result|ResultSet $result): array
    {
        if ($result instanceof ResultSet) {
            return array_map(fn ($member) => $this->described($member), iterator_to_array($result));
        }

        return [$result->id, $result->parent?->id];
    }

    /** @dataProvider workers */
    public function test_a_group_saved_by_python_is_restored_in_php(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        $saved = $this->python($worker, $db, 'save');
        $group = $client->groupResult($saved['id']);
        $this->assertInstanceOf(GroupResult::class, $group);
        $this->assertSame($saved['members'], $this->described($group));
        // Python adds the members of a group in a group to the outer one, or keeps the group.
        $values = $group->get(30);
        array_walk_recursive($values, function (int $value) use (&$flat): void {
            $flat[] = $value;
        });
        $this->assertSame([3, 40, 10, 12], $flat);
        $this->assertTrue($group->successful());
        $group->delete();
        $this->assertNull($client->groupResult($saved['id']));
        $this->assertNull($this->python($worker, $db, 'restore', $saved['id']));
    }

    /** @dataProvider workers */
    public function test_a_group_saved_by_php_is_restored_in_python(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        $add = $client->signature('proj.add');
        $group = (new Group($add->s(1, 2), new Chain($add->s(2, 2), $client->signature('proj.mul', [10])), $add->s(5, 5)))->delay();
        $group->save();
        $restored = $this->python($worker, $db, 'restore', $group->id);
        $this->assertSame(['id' => $group->id, 'members' => $this->described($group), 'values' => [3, 40, 10]], $restored);
        $this->assertSame([3, 40, 10], $group->get(30));
    }

    /** @dataProvider workers */
    public function test_values_failures_and_states(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        $this->assertSame(5, $client->sendTask('proj.add', [2, 3])->get(30));
        $failed = $client->sendTask('proj.fail', ['alas']);
        try {
            $failed->get(30);
            $this->fail('no exception');
        } catch (\Celery\TaskFailed $e) {
            $this->assertSame(['alas', 'ValueError', ['alas']], [$e->getMessage(), $e->type(), $e->arguments()]);
            $this->assertSame($failed->id, $e->taskId());
        }
        $this->assertSame('FAILURE', $failed->state());
        $this->assertInstanceOf(\DateTimeImmutable::class, $failed->meta()->dateDone);
        $failed->forget();
        $this->assertSame('PENDING', $failed->state());
    }

    /** @dataProvider workers */
    public function test_a_chain_ends_with_the_failure_of_an_earlier_step(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        $fail = $client->signature('proj.fail', ['out of paper'])->immutable();
        $add = $client->signature('proj.add', [1, 2])->immutable();
        $last = (new Chain($add, $fail, $add, $add))->delay();
        try {
            $last->get(30);
            $this->fail('the second step has failed');
        } catch (TaskFailed $e) {
            $this->assertSame(['out of paper', 'ValueError'], [$e->getMessage(), $e->type()]);
            $this->assertSame($last->parent->parent->id, $e->taskId());
        }
        $this->assertSame(3, $last->parent->parent->parent->get(30));
    }

    /** @dataProvider workers */
    public function test_a_hundred_results_as_they_come(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        for ($n = 0; $n < 100; ++$n) {
            $results["n$n"] = $client->sendTask('proj.add', [$n, 1]);
        }
        $set = new ResultSet($results);
        foreach ($set->asCompleted(60) as $key => $result) {
            $seen[$key] = $result->get(0);
        }
        ksort($seen, SORT_NATURAL);
        $this->assertSame(range(1, 100), array_values($seen));
        $this->assertSame(range(1, 100), array_values($set->get(30)));
        $this->assertSame(100, $set->completedCount());
    }
}
