<?php

namespace CeleryTests\Interop;

use Celery\Client;
use Celery\Control;
use Celery\Event;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * A Python worker (Celery 5.7) and ours answer every command and question of PHP. Each has a queue
 * of its own, so that a test knows where its task is.
 */
class ControlTest extends TestCase
{
    private const DB = 12;
    private const EMPTY_DB = 13;
    private const PYTHON = 'python@test';
    private const OURS = 'rust@test';
    /** The queues by node name. */
    private const QUEUES = [self::PYTHON => 'for-python', self::OURS => 'for-rust'];
    /** @var list<Background> */
    private static array $workers = [];

    public static function setUpBeforeClass(): void
    {
        self::start();
    }

    public static function tearDownAfterClass(): void
    {
        self::$workers = [];
    }

    private static function start(): void
    {
        self::$workers = [
            Programs::pythonWorker('5.7', self::DB, [], ['-n', self::PYTHON, '-Q', self::QUEUES[self::PYTHON]]),
            Programs::playground(['-n', self::OURS, '-Q', self::QUEUES[self::OURS], '-c', '4'], self::DB),
        ];
        // Both say "ready" a moment before they hear commands.
        Wait::until('both workers', 30, fn () => count(self::control()->ping()) === 2);
    }

    private static function client(int $db = self::DB): Client
    {
        return new Client(Programs::redisUrl($db));
    }

    private static function control(int $db = self::DB): Control
    {
        return self::client($db)->control();
    }

    /** Posts a task to both workers and returns the ids by node name. */
    private function post(string $task, array $args, array $options = []): array
    {
        $client = new \Celery(Programs::redisUrl(self::DB));

        return array_map(fn (string $queue) => $client->PostTask($task, $args, true, $queue, $options)->getId(), self::QUEUES);
    }

    /** Checks that both have answered, and that ours has the form of Python's. Returns the answers. */
    private function both(array $answers): array
    {
        $this->assertSame([self::PYTHON, self::OURS], array_keys($answers));

        return $answers;
    }

    private function bothOk(array $answers, string $text = ''): void
    {
        foreach ($this->both($answers) as $node => $answer) {
            $this->assertSame(['ok'], array_keys($answer), "$node: " . json_encode($answer));
            $this->assertStringContainsString($text, $answer['ok'], $node);
        }
    }

    private function bothRefuse(array $answers): void
    {
        foreach ($this->both($answers) as $node => $answer) {
            $this->assertSame(['error'], array_keys($answer), "$node: " . json_encode($answer));
        }
    }

    /** Returns the type of each member of a value, as deep as the arrays go. */
    private static function types(mixed $value): mixed
    {
        return is_array($value) && !array_is_list($value) ? array_map(self::types(...), $value) : get_debug_type($value);
    }

    public function test_ping(): void
    {
        $pong = ['ok' => 'pong'];
        $this->assertSame([self::PYTHON => $pong, self::OURS => $pong], self::control()->ping());
        $this->assertSame([self::PYTHON => $pong, self::OURS => $pong], self::control()->inspect()->ping());
        $this->assertSame([self::OURS => $pong], self::control()->ping(self::OURS));
        $this->assertSame([self::OURS => $pong], self::control()->ping([self::OURS, 'other@test'], timeout: 0.5));
        $this->assertCount(1, self::control()->ping(limit: 1, timeout: new \DateInterval('PT20S')));
    }

    public function test_without_a_worker(): void
    {
        $this->assertSame([], self::control(self::EMPTY_DB)->ping());
        $this->assertSame([], self::control(self::EMPTY_DB)->inspect(timeout: 60)->stats());
        $this->assertSame([], self::control()->ping('other@test', timeout: 0.3));
        $this->assertSame([], self::control(self::EMPTY_DB)->revoke('x', reply: true));
    }

    public function test_patterns(): void
    {
        $ping = fn (string $pattern, string $matcher) => array_keys(
            self::control()->broadcast('ping', reply: true, pattern: $pattern, matcher: $matcher, timeout: 1.0)
        );
        $this->assertSame([self::OURS], $ping('rust@*', 'glob'));
        $this->assertSame([self::PYTHON], $ping('^py.*$', 'pcre'));
        $stats = self::control()->inspect(pattern: '*@test', matcher: 'glob')->stats();
        $this->assertSame([self::PYTHON, self::OURS], array_keys($stats));
    }

    public function test_requests_that_run_and_wait(): void
    {
        $running = $this->post('proj.sleep', [8]);
        $inspect = self::control()->inspect();
        Wait::until('running tasks', 60, fn () => count(array_filter($inspect->active())) === 2);
        $active = $this->both($inspect->active());
        foreach ($active as $node => [$request]) {
            $this->assertSame($running[$node], $request['id']);
            $this->assertSame([8], $request['args']);
            $this->assertIsFloat($request['time_start']);
        }
        $this->assertEquals(self::types($active[self::PYTHON][0]), self::types($active[self::OURS][0]));

        foreach ($this->both($inspect->queryTask(...array_values($running))) as $node => $found) {
            $this->assertSame([$running[$node]], array_keys($found));
            [$state, $request] = $found[$running[$node]];
            $this->assertSame('active', $state);
            $this->assertSame('proj.sleep', $request['name']);
        }
        $this->both($inspect->reserved());

        $later = $this->post('proj.add', [1, 2], ['countdown' => 600]);
        Wait::until('scheduled tasks', 60, fn () => count(array_filter($inspect->scheduled())) === 2);
        $scheduled = $this->both($inspect->scheduled());
        foreach ($scheduled as $node => [$entry]) {
            $this->assertSame($later[$node], $entry['request']['id']);
        }
        $types = fn (string $node) => self::types($scheduled[$node][0]);
        $this->assertEquals($types(self::PYTHON), $types(self::OURS));

        $this->bothOk(self::control()->revoke(array_values($later), reply: true));
        foreach ($this->both($inspect->revoked()) as $node => $ids) {
            $this->assertContains($later[$node], $ids, $node);
        }
        $result = self::client()->result($later[self::OURS]);
        $this->bothOk(self::control()->revoke([$result, 'another-id'], reply: true));
        // Python's pool of threads cannot end a task, and says so.
        $ended = $this->both(self::control()->terminate(array_values($running), 'SIGKILL', reply: true));
        $this->assertSame(['ok'], array_keys($ended[self::OURS]));
    }

    public function test_facts_about_workers(): void
    {
        $inspect = self::control()->inspect();
        foreach ($this->both($inspect->registered()) as $tasks) {
            $this->assertContains('proj.add', $tasks);
        }
        $this->both($inspect->registered('rate_limit', 'serializer'));
        foreach ($this->both($inspect->stats()) as $stats) {
            $this->assertIsInt($stats['pid']);
            $this->assertIsInt($stats['uptime']);
            $this->assertIsArray($stats['pool']);
        }
        foreach ($this->both($inspect->conf()) as $conf) {
            $this->assertIsArray($conf);
        }
        $this->both($inspect->conf(withDefaults: true));
        $queues = $this->both($inspect->activeQueues());
        foreach ($queues as $node => [$queue]) {
            $this->assertSame(self::QUEUES[$node], $queue['name']);
        }
        $this->assertEqualsCanonicalizing(array_keys($queues[self::PYTHON][0]), array_keys($queues[self::OURS][0]));
        foreach ($this->both($inspect->report()) as $report) {
            $this->assertIsString($report['ok']);
        }
        foreach ($this->both($inspect->clock()) as $clock) {
            $this->assertIsInt($clock['clock']);
        }
    }

    public function test_commands(): void
    {
        $control = self::control();
        $this->bothOk($control->rateLimit('proj.mul', '10/m', reply: true), 'rate limit');
        $this->bothOk($control->rateLimit('proj.mul', 0, reply: true), 'rate limit');
        $this->bothRefuse($control->rateLimit('no.such.task', 5.5, reply: true));
        $this->bothOk($control->timeLimit('proj.mul', 20, new \DateInterval('PT30S'), reply: true), 'time limits');
        $this->bothOk($control->addConsumer('another', reply: true), 'another');
        $this->assertCount(2, $control->inspect()->activeQueues()[self::OURS]);
        $this->bothOk($control->cancelConsumer('another', reply: true), 'another');
        $this->both($control->poolGrow(2, reply: true));
        $this->both($control->poolShrink(2, reply: true));
        $this->bothRefuse($control->autoscale(8, 2, reply: true));
        $this->bothRefuse($control->poolRestart(reply: true));
        $this->both($control->enableEvents(reply: true));
        $this->both($control->disableEvents(reply: true));
        $this->both($control->revokeByStampedHeaders(['tenant' => ['acme', 'umbrella']], reply: true));
        $this->bothRefuse($control->broadcast('no_such_command', ['a' => 1], reply: true));
        $this->assertSame([], $control->rateLimit('proj.mul', '5/s'));
        $control->heartbeat();
        // A list is left only for replies that may come too late, and expires.
        $redis = Programs::redis(self::DB);
        foreach ($redis->keys('*.reply.celery.pidbox') as $list) {
            $this->assertGreaterThan(0, $redis->ttl($list));
        }
        $this->assertSame(0, $redis->sCard('_kombu.binding.reply.celery.pidbox'));
    }

    public function test_events(): void
    {
        $client = self::client();
        $events = $client->events(['task-s*', 'task-received'], timeout: 20, limit: 6, enable: true);
        Wait::until('events', 60, fn () => count($client->control()->enableEvents(reply: true)) === 2);
        $ids = $this->post('proj.add', [2, 3]);
        $seen = [];
        foreach ($events as $key => $event) {
            $this->assertInstanceOf(Event::class, $event);
            $this->assertSame($ids[$event->hostname], $event->uuid);
            $this->assertSame($event->type, $event->fields['type']);
            $this->assertGreaterThan(1.7e9, $event->timestamp);
            $this->assertGreaterThan(0, $event->clock);
            $this->assertSame($event->fields, json_decode(json_encode($event, JSON_PRESERVE_ZERO_FRACTION), true));
            $seen[$event->hostname][] = $event->type;
        }
        $this->assertSame(5, $key);
        $lives = ['task-received', 'task-started', 'task-succeeded'];
        $this->assertEquals([self::PYTHON => $lives, self::OURS => $lives], $seen);
        $this->assertNull($events->next(0.05));
        $events->close();
        $this->assertNull($events->next(60));

        $heartbeats = $client->events('worker-heartbeat');
        $first = $heartbeats->next(20);
        $this->assertSame('worker-heartbeat', $first->type);
        $this->assertNull($first->uuid);
        $this->assertArrayHasKey('freq', $first->fields);
        $client->control()->disableEvents();
    }

    public function test_shutdown(): void
    {
        self::control()->shutdown(self::OURS);
        Wait::until('the end of our worker', 30, fn () => array_keys(self::control()->ping()) === [self::PYTHON]);
        self::control()->shutdown();
        Wait::until('the end of the Python worker', 30, fn () => self::control()->ping() === []);
        $this->assertSame([], self::control()->inspect(timeout: 60)->active());
        self::start();
    }
}
