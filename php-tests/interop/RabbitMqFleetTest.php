<?php

namespace CeleryTests\Interop;

use Celery\Chain;
use Celery\Chord;
use Celery\Client;
use Celery\DeadLetter;
use Celery\Group;
use Celery\Result;
use Celery\TaskException;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * A Python worker and ours serve one queue of RabbitMQ, classic or quorum. PHP and Python post to it,
 * and either worker runs what comes. The results are in Redis.
 */
class RabbitMqFleetTest extends TestCase
{
    private const DB = 14;
    private const WAIT = 60;
    /** So often is each kind of task posted. RabbitMQ gives the messages to both workers in turn. */
    private const TIMES = 6;

    /** @var array<string, array{Background, Background}> the workers of each queue: Python's and ours */
    private static array $fleets = [];

    public static function tearDownAfterClass(): void
    {
        self::$fleets = [];
    }

    /** Returns the type of each queue. */
    public function types(): array
    {
        return ['classic' => ['classic'], 'quorum' => ['quorum']];
    }

    /**
     * Returns Celery's settings for a queue. The classic queue has priorities. The exchange of the quorum
     * queue is a topic, so that Celery lets tasks with an ETA wait in RabbitMQ.
     *
     * @return array<string, mixed>
     */
    private static function settings(string $type): array
    {
        return ['task_default_queue' => "fleet.$type", 'result_extended' => true] + ($type === 'quorum'
            ? ['task_default_queue_type' => 'quorum', 'task_default_exchange_type' => 'topic']
            : ['task_queue_max_priority' => 10]);
    }

    private static function python(string $type): Background
    {
        return Programs::pythonWorkerOnRabbitMq('5.7', "fleet.$type", self::DB, null, self::settings($type));
    }

    /** @param list<string> $options */
    private static function ours(string $type, array $options = []): Background
    {
        $same = ['--default-queue', "fleet.$type", '--result-extended', '--accept-content', 'json,msgpack,yaml'];
        $options = ['-n', "ours.$type@%h", ...$same, ...$options];

        return Programs::playgroundOnRabbitMq("fleet.$type", self::DB, $options);
    }

    /**
     * Starts both workers at the first call for a type. Python's declares the queue.
     *
     * @return array{Background, Background} Python's worker and ours
     */
    private static function fleet(string $type): array
    {
        return self::$fleets[$type] ??= [self::python($type), self::ours($type)];
    }

    private static function client(string $type): Client
    {
        return new Client(getenv('AMQP_URL'), Programs::redisUrl(self::DB), queue: "fleet.$type");
    }

    /** Returns the answers to the checks of a module in php-tests/interop/python. */
    private static function posted(string $module, string $type): array
    {
        $environment = ['BROKER_URL' => getenv('AMQP_URL')] + Programs::pythonEnvironment(self::DB, [], self::settings($type));
        $folder = Programs::root() . '/php-tests/interop/python';
        $process = proc_open([Programs::python('5.7'), $module], [1 => ['pipe', 'w']], $pipes, $folder, $environment + getenv());
        $output = stream_get_contents($pipes[1]);
        proc_close($process);

        return json_decode($output, true, 512, JSON_THROW_ON_ERROR);
    }

    /** Returns the names of the workers that ran these tasks, without the host. */
    private static function ran(Result ...$results): array
    {
        $names = array_map(static fn (Result $result) => strstr($result->meta()->worker, '@', true), $results);
        $names = array_values(array_unique($names));
        sort($names);

        return $names;
    }

    /** @dataProvider types */
    public function test_either_worker_runs_each_kind_of_task_that_php_posts(string $type): void
    {
        self::fleet($type);
        $client = self::client($type);
        $kinds = [
            'plain' => [fn () => $client->sendTask('proj.add', [2, 3]), 5],
            'keywords' => [fn () => $client->sendTask('proj.mul', kwargs: ['x' => 6, 'y' => 7]), 42],
            'a priority' => [fn () => $client->sendTask('proj.add', [2, 4], priority: 7), 6],
            'a time until which it may begin' => [fn () => $client->sendTask('proj.add', [2, 5], expires: 600), 7],
            'protocol 1' => [fn () => $client->with(protocol: 1)->sendTask('proj.add', [2, 6]), 8],
            'through the exchange' => [fn () => $client->sendTask('proj.add', [2, 7], exchange: "fleet.$type", routingKey: "fleet.$type"), 9],
        ];
        foreach (['json', 'msgpack', 'yaml'] as $serializer) {
            foreach ([null, 'gzip', 'bzip2', 'xz', 'zstd', 'brotli'] as $compression) {
                $encoded = $client->with(serializer: $serializer, compression: $compression);
                $kinds["$serializer, $compression"] = [fn () => $encoded->sendTask('proj.xsum', [range(1, 100)]), 5050];
            }
        }
        foreach ($kinds as $kind => [$post, $value]) {
            $results = array_map(fn () => $post(), range(1, self::TIMES));
            foreach ($results as $result) {
                $this->assertSame($value, $result->get(self::WAIT), $kind);
            }
            $this->assertSame(["fleet.$type", "ours.$type"], self::ran(...$results), $kind);
        }
        $failing = array_map(fn () => $client->sendTask('proj.fail', ['alas']), range(1, self::TIMES));
        foreach ($failing as $result) {
            try {
                $result->get(self::WAIT);
                $this->fail('the task did not fail');
            } catch (TaskException $failure) {
                $this->assertSame(['ValueError', 'alas'], [$failure->type(), $failure->getMessage()]);
            }
        }
        $this->assertSame(["fleet.$type", "ours.$type"], self::ran(...$failing));
    }

    /** @dataProvider types */
    public function test_either_worker_runs_each_kind_of_task_that_python_posts(string $type): void
    {
        self::fleet($type);
        $answers = self::posted('client.py', $type);
        $expected = [
            'add' => 5, 'keywords' => 42, 'xsum' => 6, 'priority' => 8, 'zlib' => 10, 'countdown' => 2,
            'many' => array_sum(range(0, 199)), 'expired' => 'REVOKED',
        ];
        $this->assertEquals($expected, array_intersect_key($answers, $expected));
        $this->assertSame('ValueError', $answers['fail']['type']);
        $this->assertSame('OSError', $answers['retrying']['type']);
        $this->assertSame('NotRegistered', $answers['unknown']['type']);
        $this->assertContains('PROGRESS', $answers['custom_state']['states']);
        // Each of three serializers without a compression and with five, twice.
        $this->assertSame(array_fill(0, 36, 7), $answers['encodings']);
    }

    /** @dataProvider types */
    public function test_chains_groups_and_chords(string $type): void
    {
        self::fleet($type);
        $client = self::client($type);
        $add = $client->signature('proj.add')->set(queue: "fleet.$type");
        $mul = $client->signature('proj.mul')->set(queue: "fleet.$type");
        $sum = $client->signature('proj.xsum')->set(queue: "fleet.$type");
        $steps = array_map(fn () => $add->s(1), range(1, 20));
        $this->assertSame(41, $client->send(new Chain($add->s(20, 1), ...$steps))->get(self::WAIT));
        $group = $client->send(new Group(...array_map(fn ($n) => $add->s($n, $n), range(1, 20))));
        $this->assertSame(range(2, 40, 2), $group->get(self::WAIT));
        $this->assertSame(["fleet.$type", "ours.$type"], self::ran(...iterator_to_array($group)));
        $members = array_map(fn ($n) => new Chain($add->s($n, 1), $mul->s(2)), range(1, 20));
        $this->assertSame(460, $client->send(new Chord($members, $sum->s()))->get(self::WAIT));

        $answers = self::posted('canvas.py', $type);
        foreach (CanvasTest::ANSWERS as $check => $answer) {
            $this->assertSame($answer, $answers[$check], $check);
        }
    }

    /** @dataProvider types */
    public function test_each_worker_goes_on_with_what_the_other_retries(string $type): void
    {
        [$python, $ours] = self::fleet($type);
        $client = self::client($type);
        $results = array_map(fn () => $client->sendTask('proj.retrying'), range(1, 40));
        $begun = ["fleet.$type" => [], "ours.$type" => []];
        foreach ($results as $result) {
            try {
                $result->get(self::WAIT);
                $this->fail('the task did not fail');
            } catch (TaskException $failure) {
                $this->assertSame('OSError', $failure->type());
            }
            $meta = $result->meta();
            $this->assertSame(2, $meta->retries);
            $retry = "proj.retrying[{$result->id}] retry: ";
            $tries = array_map(fn (Background $worker) => substr_count($worker->log(), $retry), [$python, $ours]);
            $this->assertSame(2, array_sum($tries));
            // The last run was another worker's than an earlier one.
            $last = self::ran($result)[0];
            $begun[$last][] = $tries[$last === "fleet.$type" ? 1 : 0];
        }
        $this->assertGreaterThan(0, array_sum($begun["fleet.$type"]), 'Python ended what we retried');
        $this->assertGreaterThan(0, array_sum($begun["ours.$type"]), 'we ended what Python retried');
    }

    /** @dataProvider types */
    public function test_tasks_wait_for_their_time(string $type): void
    {
        [, $ours] = self::fleet($type);
        $client = self::client($type);
        $posted = microtime(true);
        // Python's worker holds its share until their time, which is less than it prefetches.
        $results = array_map(fn ($n) => $client->sendTask('proj.add', [$n, 1], countdown: 2.5), range(1, 20));
        $handedOver = 0;
        foreach ($results as $n => $result) {
            $this->assertSame($n + 2, $result->get(self::WAIT));
            $meta = $result->meta();
            $this->assertGreaterThanOrEqual($posted + 2.5, (float) $meta->dateDone->format('U.u'));
            // Our worker lets RabbitMQ keep the task until its time, and then either worker gets it.
            $received = "proj.add[{$result->id}] received";
            $isPythons = self::ran($result) === ["fleet.$type"];
            $handedOver += $isPythons && str_contains($ours->log(), $received) ? 1 : 0;
        }
        $this->assertGreaterThan(0, $handedOver);
    }

    /** @dataProvider types */
    public function test_neither_worker_runs_a_revoked_task(string $type): void
    {
        self::fleet($type);
        $client = self::client($type);
        $ids = array_map(fn ($n) => "revoked-$type-$n", range(1, self::TIMES));
        foreach ($ids as $id) {
            $client->result($id)->revoke();
        }
        $nodes = array_map(fn ($name) => "$name.$type@" . gethostname(), ['fleet', 'ours']);
        Wait::until('both workers', self::WAIT, function () use ($client, $nodes, $ids) {
            $known = $client->control()->inspect($nodes, timeout: self::WAIT)->revoked();

            return array_filter($nodes, fn ($node) => array_diff($ids, $known[$node] ?? []) !== []) === [];
        });
        foreach ($ids as $id) {
            $client->sendTask('proj.add', [1, 1], taskId: $id);
        }
        foreach ($ids as $id) {
            Wait::until("the end of $id", self::WAIT, fn () => $client->result($id)->ready());
            $this->assertSame('REVOKED', $client->result($id)->state());
        }
        $this->assertSame(3, $client->sendTask('proj.add', [1, 2])->get(self::WAIT));
    }

    public function test_dead_letters_are_listed_put_back_and_deleted(): void
    {
        self::fleet('classic');
        $ours = 'ours.classic@' . gethostname();
        $client = self::client('classic')->with(queue: 'fleet.dead');
        $listen = fn (bool $on) => $on
            ? $client->control()->addConsumer('fleet.dead', destination: $ours, reply: true, timeout: self::WAIT)
            : $client->control()->cancelConsumer('fleet.dead', destination: $ours, reply: true, timeout: self::WAIT);
        $listen(true);
        $letters = $client->deadLetters();
        // Other tests may have left some.
        foreach ($letters->newest(1000) as $letter) {
            $letters->delete($letter->place);
        }
        $nothing = [$letters->newest(), $letters->find('1-1'), $letters->message('1-1'), $letters->replay('1-1'), $letters->delete('1-1')];
        $this->assertSame([[], null, null, false, false, 0], [...$nothing, count($letters)]);

        $ids = [];
        foreach (['a', 'b', 'c'] as $argument) {
            $ids[] = $client->sendTask('proj.unknown', [$argument], ['y' => null])->id;
            Wait::until('the letter', self::WAIT, fn () => count($letters) === count($ids));
        }
        $listen(false);
        $found = $letters->newest();
        $this->assertSame(array_reverse($ids), array_map(fn (DeadLetter $letter) => $letter->id, $found));
        [$c, $b, $a] = $found;
        $this->assertSame(
            ['fleet.dead', 'proj.unknown', 'not-registered', $ours, "('b',)", "{'y': None}"],
            [$b->queue, $b->task, $b->cause, $b->worker, $b->argsrepr, $b->kwargsrepr]
        );
        $this->assertGreaterThan(1.7e9, $b->timestamp);
        $this->assertEquals([[$b, $a], [$c], $b], [$letters->newest(5, before: $c->place), $letters->newest(1), $letters->find($b->place)]);
        $this->assertSame([['b'], ['y' => null]], array_slice(json_decode($letters->message($b->place), true), 0, 2));
        // To read changes nothing, and the command of the worker knows the same places.
        $this->assertCount(3, $letters);
        $listed = shell_exec(escapeshellarg(Programs::path('celery-worker')) . ' dead list -b ' . escapeshellarg(getenv('AMQP_URL')));
        $this->assertSame([$a->place, $b->place, $c->place], preg_replace('/ .*/', '', preg_split('/\R/', trim($listed))));

        $this->assertSame([true, false, null], [$letters->replay($b->place), $letters->replay($b->place), $letters->find($b->place)]);
        $this->assertSame([['fleet.dead' => 1], 2], [$client->queueLengths(), count($letters)]);
        $this->assertSame([true, false, 1], [$letters->delete($a->place), $letters->delete($a->place), count($letters)]);
        // What was put back is a message like any other.
        $listen(true);
        Wait::until('the letter', self::WAIT, fn () => count($letters) === 2);
        [$again, $left] = $letters->newest();
        $this->assertEquals([$b->id, $b->argsrepr, $c], [$again->id, $again->argsrepr, $left]);
        $listen(false);
        try {
            $client->deadLetters()->find('c');
            $this->fail('no exception');
        } catch (\ValueError $error) {
            $this->assertStringContainsString('must be the place of a dead letter', $error->getMessage());
        }
    }

    public function test_the_greatest_priority_comes_first(): void
    {
        // Only one worker runs, and it starts when all tasks wait.
        $type = 'classic';
        foreach (self::fleet($type) as $worker) {
            $worker->stop(self::WAIT);
        }
        self::$fleets = [];
        $client = self::client($type);
        foreach ([fn () => self::ours($type, ['-c', '1']), fn () => self::python($type)] as $start) {
            $tasks = [];
            foreach ([3, 9, 0, 5, 1, 7] as $priority) {
                $tasks[$priority] = $client->sendTask('proj.add', [$priority, 0], priority: $priority);
            }
            $worker = $start();
            foreach ($tasks as $priority => $task) {
                $this->assertSame($priority, $task->get(self::WAIT));
            }
            krsort($tasks);
            preg_match_all('/proj\.add\[([^]]+)\] received/', $worker->log(), $received);
            $this->assertSame(array_map(fn (Result $task) => $task->id, array_values($tasks)), $received[1]);
            $worker->stop(self::WAIT);
        }
    }
}
