<?php

namespace CeleryTests\Interop;

use Celery\Chord;
use Celery\Client;
use Celery\Interval;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * A Redis Cluster: PHP, our worker and Python Celery share the queues in one slot. Python is pointed at
 * the node that owns the slot, with the prefix as `global_keyprefix`; the others follow the cluster.
 */
class ClusterTest extends TestCase
{
    private const PREFIX = '{celery}:';
    private const PYTHON = 'python@test';
    private const OURS = 'rust@test';
    /** The queues by node name. */
    private const QUEUES = [self::PYTHON => 'for-python', self::OURS => 'for-rust'];
    /** @var list<Background> */
    private static array $workers = [];

    public static function setUpBeforeClass(): void
    {
        self::$workers = [
            Programs::pythonWorkerInCluster(['-n', self::PYTHON, '-Q', self::QUEUES[self::PYTHON]]),
            Programs::playgroundInCluster(['-n', self::OURS, '-Q', self::QUEUES[self::OURS], '-c', '4', '-B', '-E']),
        ];
        // Both say "ready" a moment before they hear commands.
        Wait::until('both workers', 30, fn () => count(self::client()->control()->ping()) === 2);
    }

    public static function tearDownAfterClass(): void
    {
        self::$workers = [];
    }

    private static function client(): Client
    {
        return new Client(getenv('CLUSTER_URL'));
    }

    /** Connects to the owner of the slot, or to another master. */
    private static function node(int $place = 0): \Redis
    {
        $redis = new \Redis();
        $redis->connect('127.0.0.1', (int) explode(' ', getenv('CLUSTER_PORTS'))[$place]);

        return $redis;
    }

    public function test_php_posts_and_both_work(): void
    {
        foreach (self::QUEUES as $node => $queue) {
            $this->assertSame(5, self::client()->sendTask('proj.add', [2, 3], queue: $queue)->get(30), $node);
            $failed = (new \Celery(getenv('CLUSTER_URL')))->PostTask('proj.fail', ['alas'], true, $queue);
            $failed->get(30, false);
            $this->assertSame('FAILURE', $failed->getStatus(), $node);
        }
    }

    public function test_python_posts_and_ours_works(): void
    {
        $code = <<<'PYTHON'
            from celery import chord, group
            from proj import add, xsum

            print(add.apply_async((2, 3), queue="for-rust").get(timeout=60))
            print([result.get(timeout=60) for result in [add.apply_async((n, n), queue="for-rust", priority=n) for n in (0, 3, 9)]])
            header = [add.si(1, 2).set(queue="for-rust"), add.si(3, 4).set(queue="for-python")]
            print(chord(header)(xsum.s().set(queue="for-rust")).get(timeout=60))
            PYTHON;
        $program = [Programs::python('5.7'), '-c', $code];
        $python = proc_open($program, [1 => ['pipe', 'w']], $pipes, Programs::root() . '/php-tests/interop/python', Programs::clusterEnvironment() + getenv());
        $output = stream_get_contents($pipes[1]);
        $this->assertSame(0, proc_close($python));
        $this->assertSame("5\n[0, 6, 18]\n10\n", $output);
    }

    public function test_a_canvas_over_both_workers(): void
    {
        $client = self::client();
        foreach (array_values(self::QUEUES) as $queue) {
            $header = array_map(fn (string $of) => $client->signature('proj.add', [2, 3])->set(queue: $of), array_values(self::QUEUES));
            $chord = new Chord($header, $client->signature('proj.xsum')->set(queue: $queue));
            $this->assertSame(10, $client->send($chord)->get(60), $queue);
        }
    }

    public function test_large_messages_are_claimed_by_native_commands(): void
    {
        $client = self::client();
        $large = str_repeat('x', 20_000);
        $task = $client->signature('proj.echo', [$large])->set(queue: 'for-rust');
        $results = $client->sendTasks(array_fill(0, 100, $task));
        foreach ($results->get(60) as $value) {
            $this->assertSame($large, $value->args[0] ?? $value['args'][0]);
        }
    }

    public function test_control_and_events(): void
    {
        $control = self::client()->control();
        $pong = ['ok' => 'pong'];
        $this->assertEqualsCanonicalizing([self::PYTHON => $pong, self::OURS => $pong], $control->ping());
        $events = self::client()->events(['task-succeeded'], timeout: 60, limit: 2, enable: true);
        foreach (self::QUEUES as $queue) {
            self::client()->sendTask('proj.add', [2, 3], queue: $queue);
        }
        $hosts = array_map(fn ($event) => $event->hostname, iterator_to_array($events, false));
        $this->assertEqualsCanonicalizing(array_keys(self::QUEUES), $hosts);

        $waiting = self::client()->sendTask('proj.add', [2, 3], countdown: 3600, queue: 'for-rust');
        $waiting->revoke();
        Wait::until('the revocation', 30, fn () => $waiting->state() === 'REVOKED');
    }

    public function test_schedules_and_dead_letters(): void
    {
        $client = self::client();
        $task = $client->signature('proj.add', [2, 3])->set(queue: 'for-rust');
        $client->schedules()->add('often', new Interval(0.2), $task);
        Wait::until('tasks of the schedule', 60, fn () => $client->schedules()->get('often')->sent > 1);
        $this->assertTrue($client->schedules()->remove('often'));

        $client->sendTask('proj.unknown', queue: 'for-rust');
        $letters = $client->deadLetters();
        Wait::until('the dead letter', 30, fn () => $letters->count() === 1);
        [$letter] = $letters->newest();
        $this->assertSame('proj.unknown', $letter->task);
        $this->assertTrue($letters->replay($letter->place));
        Wait::until('the dead letter, once more', 30, fn () => ($letters->newest()[0]->place ?? $letter->place) !== $letter->place);
        $this->assertTrue($letters->delete($letters->newest()[0]->place));
    }

    public function test_no_key_is_without_the_prefix(): void
    {
        $keys = self::node()->keys('*');
        $this->assertNotSame([], $keys);
        $this->assertSame([], array_values(array_filter($keys, fn (string $key) => !str_starts_with($key, self::PREFIX))));
        foreach ([1, 2] as $place) {
            $this->assertSame([], self::node($place)->keys('*'));
        }
    }
}
