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
 * Python workers (Celery 5.7 and 5.2) on RabbitMQ answer the commands and questions of PHP, and
 * send their events.
 */
class RabbitMqControlTest extends TestCase
{
    /** @var array<string, Background> */
    private static array $workers = [];

    public static function tearDownAfterClass(): void
    {
        self::$workers = [];
    }

    protected function setUp(): void
    {
        if (self::$workers === []) {
            // The workers of other classes have ended. Nothing waits for the time of replies then.
            Wait::until('no worker', 60, fn () => self::control()->ping(timeout: 60) === []);
            foreach (['5.2', '5.7'] as $version) {
                self::$workers[$version] = Programs::pythonWorkerOnRabbitMq($version, "control@$version", 1, 'rpc://');
            }
            Wait::until('both workers', 60, fn () => count(self::control()->ping(limit: 2, timeout: 5)) === 2);
        }
    }

    private static function client(): Client
    {
        return new Client(getenv('AMQP_URL'), queue: 'control@5.7');
    }

    private static function control(): Control
    {
        return self::client()->control();
    }

    /** Returns the name of the node of a worker, which is that of its queue. */
    private static function node(string $version): string
    {
        return "control@$version@" . gethostname();
    }

    public function test_commands_and_their_replies(): void
    {
        $both = [self::node('5.2'), self::node('5.7')];
        $this->assertSame($both, array_keys(self::control()->ping(limit: 2, timeout: 60)));
        $this->assertSame(['ok' => 'pong'], self::control()->ping(limit: 2, timeout: 60)[$both[1]]);
        // Those that are asked are enough.
        $this->assertSame([$both[0]], array_keys(self::control()->ping($both[0], timeout: 60)));
        $this->assertSame([], self::control()->ping('control@nowhere', timeout: 0.2));
        $matched = self::control()->broadcast('ping', reply: true, timeout: 60, limit: 1, pattern: '*5.7*', matcher: 'glob');
        $this->assertSame([$both[1]], array_keys($matched));
        $unknown = self::control()->broadcast('no_such_command', destination: $both[1], reply: true, timeout: 60);
        $this->assertArrayHasKey('error', $unknown[$both[1]]);
        $this->assertSame([], self::control()->broadcast('ping'));

        $inspect = self::control()->inspect($both, timeout: 60);
        $this->assertSame($both, array_keys($inspect->stats()));
        $this->assertContains('proj.add', $inspect->registered()[$both[1]]);
        $this->assertSame('control@5.7', $inspect->activeQueues()[$both[1]][0]['name']);
        $this->assertSame([[], []], array_values($inspect->reserved()));

        $added = self::control()->addConsumer('control.more', destination: $both[1], reply: true, timeout: 60);
        $this->assertArrayHasKey('ok', $added[$both[1]]);
        $this->assertSame(5, self::client()->sendTask('proj.add', [2, 3], queue: 'control.more')->get(60));
        self::control()->cancelConsumer('control.more', destination: $both[1], reply: true, timeout: 60);
    }

    public function test_queues_are_counted_and_purged(): void
    {
        $client = self::client()->with(queue: 'control.counted');
        $this->assertSame(['control.counted' => 0, 'no.queue' => 0], $client->queueLengths('control.counted', 'no.queue'));
        $client->sendTasks(array_fill(0, 7, $client->signature('proj.add', [1, 1])));
        // RabbitMQ counts a moment later.
        Wait::until('the tasks', 60, fn () => $client->queueLengths() === ['control.counted' => 7]);
        $this->assertSame(7, $client->purge());
        $this->assertSame(0, $client->purge('control.counted', 'no.queue'));
    }

    public function test_tasks_are_revoked(): void
    {
        $client = self::client();
        $node = self::node('5.7');
        $late = $client->sendTask('proj.add', [1, 1], countdown: 3600);
        $celery = new \Celery(getenv('AMQP_URL'));
        $other = $celery->PostTask('proj.add', [1, 1], true, 'control@5.7', ['countdown' => 3600]);
        $scheduled = fn () => array_column(array_column(self::control()->inspect($node, timeout: 60)->scheduled()[$node], 'request'), 'id');
        Wait::until('both tasks', 60, fn () => array_diff([$late->id, $other->getId()], $scheduled()) === []);
        $late->revoke();
        $other->revoke();
        Wait::until('the revocations', 60, fn () => array_diff(
            [$late->id, $other->getId()],
            self::control()->inspect($node, timeout: 60)->revoked()[$node]
        ) === []);

        $slow = $client->sendTask('proj.sleep', [1]);
        $this->assertSame([['ok']], array_map('array_keys', array_values(self::control()->revoke($slow, destination: $node, reply: true, timeout: 60))));
    }

    public function test_events(): void
    {
        $client = self::client();
        $events = $client->events(['task-s*', 'task-received'], timeout: 60, limit: 3, enable: true);
        $both = [self::node('5.2'), self::node('5.7')];
        $enabled = self::control()->enableEvents($both, reply: true, timeout: 60);
        $this->assertSame($both, array_keys($enabled));
        $id = $client->sendTask('proj.add', [2, 3])->id;
        $seen = [];
        foreach ($events as $event) {
            $this->assertInstanceOf(Event::class, $event);
            $this->assertSame([$id, $both[1]], [$event->uuid, $event->hostname]);
            $this->assertGreaterThan(1.7e9, $event->timestamp);
            $seen[] = $event->type;
        }
        $this->assertSame(['task-received', 'task-started', 'task-succeeded'], $seen);
        $this->assertNull($events->next(0.05));

        // A child has a subscription of its own, and the parent keeps its own.
        $child = pcntl_fork();
        if ($child === 0) {
            $own = $events->next(60);
            posix_kill(getmypid(), $own?->type === 'task-received' ? SIGTERM : SIGKILL);
        }
        do {
            $posted = $client->sendTask('proj.add', [2, 3])->id;
            Wait::until('the event', 60, fn () => $events->next(1)?->uuid === $posted);
        } while (pcntl_waitpid($child, $status, WNOHANG) === 0);
        $this->assertSame(SIGTERM, pcntl_wtermsig($status));
        $events->close();
        $this->assertNull($events->next(60));

        $heartbeats = $client->events('worker-heartbeat');
        $this->assertSame('worker-heartbeat', $heartbeats->next(60)->type);
        self::control()->disableEvents($both, reply: true, timeout: 60);
    }

    public function test_a_python_receiver_hears_what_php_posts(): void
    {
        $settings = ['task_send_sent_event' => true];
        $receiver = new Background(
            [Programs::python('5.7'), 'sent_events.py'],
            ['BROKER_URL' => getenv('AMQP_URL')] + Programs::pythonEnvironment(1, [], $settings),
            Programs::root() . '/php-tests/interop/python'
        );
        $heard = static fn (): array => array_map(
            static fn (string $line) => json_decode($line, true, 512, JSON_THROW_ON_ERROR),
            preg_split('/\R/', $receiver->log(), -1, PREG_SPLIT_NO_EMPTY)
        );
        Wait::until('the event of a task that Python posts', 60, static fn () => count($heard()) === 1);

        $client = self::client()->with(queue: 'heard.php', sentEvents: true);
        $posted = [$client->sendTask('proj.add', [2, 'x'], ['y' => null])->id];
        $posted[] = $client->sendTask('proj.add', [1, 1], exchange: 'heard.php', routingKey: 'heard.php')->id;
        foreach ($client->sendTasks([$client->signature('proj.add', [3, 3]), $client->signature('proj.add', [4, 3])]) as $result) {
            $posted[] = $result->id;
        }
        ini_set('celery.send_sent_event', '1');
        ini_set('celery.publish', 'pipelined');
        $celery = new \Celery(getenv('AMQP_URL'));
        $posted[] = $celery->PostTask('proj.add', [4, 4], true, 'heard.php')->getId();
        self::client()->flush();
        ini_restore('celery.publish');
        ini_restore('celery.send_sent_event');
        self::client()->with(queue: 'heard.php')->sendTask('proj.add', [5, 5]);
        $posted[] = $client->sendTask('proj.add', [6, 6])->id;

        Wait::until('the events of the tasks that PHP posts', 60, static fn () => count($heard()) > count($posted));
        $receiver->stop();
        [$python, $first, $second] = $events = $heard();
        $this->assertSame($posted, array_column(array_slice($events, 1), 'uuid'));
        ksort($python);
        ksort($first);
        $this->assertSame(array_keys($python), array_keys($first));
        $this->assertSame(array_map('get_debug_type', $python), array_map('get_debug_type', $first));
        $chosen = ['type', 'name', 'args', 'kwargs', 'parent_id', 'retries', 'eta', 'expires', 'exchange', 'utcoffset'];
        foreach ($chosen as $field) {
            $this->assertSame($python[$field], $first[$field], $field);
        }
        $this->assertSame(['php' . getmypid() . '@' . gethostname(), 'heard.php'], [$first['hostname'], $first['queue']]);
        $this->assertSame(['heard.php', 'heard.php'], [$second['exchange'], $second['routing_key']]);
    }

    public function test_our_worker_beside_a_python_worker(): void
    {
        [$python, $ours] = $both = [self::node('5.7'), self::node('rust')];
        $worker = Programs::playgroundOnRabbitMq('control@rust', 1, ['-n', $ours]);
        Wait::until('our worker', 60, fn () => self::control()->ping($ours) !== []);
        $inspect = self::control()->inspect($both, timeout: 60);
        $types = fn (mixed $value) => is_array($value) && !array_is_list($value) ? array_map('get_debug_type', $value) : get_debug_type($value);
        foreach ([$inspect->ping(), $inspect->clock(), $inspect->report(), $inspect->activeQueues()] as $answers) {
            $this->assertEquals($types($answers[$python]), $types($answers[$ours]));
        }
        $stats = $inspect->stats();
        $this->assertSame('amqp', $stats[$ours]['broker']['transport']);
        $this->assertEquals($types($stats[$python]['broker']), $types($stats[$ours]['broker']));

        $client = new Client(getenv('AMQP_URL'), Programs::redisUrl(1), queue: 'control@rust');
        $events = $client->events(['task-s*', 'task-received'], timeout: 60, limit: 3);
        self::control()->enableEvents($ours, reply: true, timeout: 60);
        $result = $client->sendTask('proj.add', [2, 3]);
        $this->assertSame(5, $result->get(60));
        $seen = [];
        foreach ($events as $event) {
            $this->assertSame([$result->id, $ours], [$event->uuid, $event->hostname]);
            $seen[] = $event->type;
        }
        $this->assertSame(['task-received', 'task-started', 'task-succeeded'], $seen);
        $events->close();

        $slow = $client->sendTask('proj.sleep', [600]);
        Wait::until('the task', 60, fn () => self::control()->inspect($ours, timeout: 60)->active()[$ours] !== []);
        $slow->revoke(terminate: true);
        Wait::until('the end of the task', 60, fn () => $slow->state() === 'REVOKED');
        self::control()->shutdown($ours);
        Wait::until('the end of our worker', 60, fn () => self::control()->ping($ours) === []);
        $worker->waitForText('Got shutdown from remote');
    }

    public function test_a_server_that_does_not_answer_and_one_that_is_away(): void
    {
        $this->assertThrows('refused', fn () => (new Client('amqp://127.0.0.1:1', connectTimeout: 0.5))->control()->ping());
        $this->assertThrows('refused', fn () => (new Client('amqp://127.0.0.1:1', connectTimeout: 0.5))->events());
        $this->assertThrows('credentials', fn () => (new Client('amqp://guest:hunter2@127.0.0.1:' . getenv('AMQP_PORT')))->control()->ping());
    }

    private function assertThrows(string $why, callable $call): void
    {
        try {
            $call();
            $this->fail('no exception');
        } catch (\CeleryException $exception) {
            $this->assertStringContainsString($why, $exception->getMessage());
            $this->assertStringNotContainsString('hunter2', $exception->getMessage());
        }
    }
}
