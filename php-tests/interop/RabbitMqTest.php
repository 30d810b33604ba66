<?php

namespace CeleryTests\Interop;

use Celery\Chain;
use Celery\Chord;
use Celery\Client;
use Celery\Group;
use CeleryTests\Background;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * Python workers run what PHP posts to a RabbitMQ. Their results are in Redis here.
 */
class RabbitMqTest extends TestCase
{
    /** @var array<string, Background> */
    private static array $workers = [];

    public static function tearDownAfterClass(): void
    {
        self::$workers = [];
    }

    public function pythons(): array
    {
        $sets = [];
        foreach (Programs::PYTHONS as $number => $version) {
            $sets[$version] = [$version, $number + 1];
        }

        return $sets;
    }

    /** Returns the arguments of celery-php for the private RabbitMQ. */
    private static function details(array $changes = []): array
    {
        return $changes + [
            'host' => '127.0.0.1',
            'login' => 'guest',
            'password' => 'guest',
            'vhost' => '/',
            'port' => (int) getenv('AMQP_PORT'),
        ];
    }

    private static function results(int $db): array
    {
        return [
            'host' => getenv('REDIS_HOST'),
            'vhost' => $db,
            'port' => (int) getenv('REDIS_PORT'),
            'connector' => 'redis',
        ];
    }

    private static function worker(string $version, int $db): string
    {
        $queue = "rabbit.$version";
        self::$workers[$version] ??= Programs::pythonWorkerOnRabbitMq($version, $queue, $db);

        return $queue;
    }

    /** @dataProvider pythons */
    public function test_the_compatible_api_needs_no_connector(string $version, int $db): void
    {
        $celery = new \CeleryAdvanced(self::details(), self::results($db));
        // The first post creates the queue as Celery does, so that the worker can declare it again.
        $first = $celery->PostTask('proj.add', [1, 2], true, "rabbit.$version");
        self::worker($version, $db);
        $this->assertSame(3, $first->get(60));

        $result = $celery->PostTask('proj.echo', ['a' => 'é', 'b' => null], true, "rabbit.$version", ['priority' => 3]);
        $this->assertSame(['args' => [], 'kwargs' => ['a' => 'é', 'b' => null]], (array) json_decode(json_encode($result->get(60)), true));
        $results = $celery->PostTasks(array_map(fn ($n) => ['proj.add', [$n, 1]], range(1, 50)), true, "rabbit.$version");
        foreach ($results as $index => $result) {
            $this->assertSame($index + 2, $result->get(60));
        }
        $failed = $celery->PostTask('proj.fail', ['alas'], true, "rabbit.$version");
        $this->assertStringContainsString('alas', json_encode($failed->get(60)));
        $this->assertFalse($failed->isSuccess());
    }

    /** @dataProvider pythons */
    public function test_exchange_and_binding_of_celery_php(string $version, int $db): void
    {
        $queue = self::worker($version, $db);
        $details = self::details(['exchange' => "shop.$version", 'binding' => $queue]);
        $celery = new \CeleryAdvanced($details, self::results($db));
        // The exchange is created, and the queue of the worker bound to it.
        $this->assertSame(7, $celery->PostTask('proj.add', [3, 4])->get(60));
        $this->assertSame(9, $celery->PostTask('proj.add', [4, 5])->get(60));
        // A post to an exchange that does not exist would fail.
        $client = new Client(getenv('AMQP_URL'), Programs::redisUrl($db));
        $this->assertSame(11, $client->sendTask('proj.add', [5, 6], exchange: "shop.$version", routingKey: $queue)->get(60));
        $this->expectExceptionMessage('NOT_FOUND');
        $client->sendTask('proj.add', [5, 6], exchange: "none.$version", routingKey: $queue);
    }

    /** @dataProvider pythons */
    public function test_tasks_and_canvases_of_a_client(string $version, int $db): void
    {
        $queue = self::worker($version, $db);
        $client = new Client(getenv('AMQP_URL'), Programs::redisUrl($db), queue: $queue);
        $this->assertSame(5, $client->sendTask('proj.add', [2, 3])->get(60));
        $late = $client->sendTask('proj.add', [2, 3], countdown: 0.5, priority: 9, expires: 600);
        $this->assertSame(5, $late->get(60));
        // Celery declares each queue with a direct exchange of its name.
        $named = $client->sendTask('proj.add', [2, 4], exchange: $queue, routingKey: $queue);
        $this->assertSame(6, $named->get(60));

        $add = $client->signature('proj.add')->set(queue: $queue);
        $mul = $client->signature('proj.mul')->set(queue: $queue);
        $sum = $client->signature('proj.xsum')->set(queue: $queue);
        $this->assertSame(20, $client->send(new Chain($add->s(2, 3), $mul->s(4)))->get(60));
        $group = new Group(...array_map(fn ($n) => $add->s($n, $n), range(1, 20)));
        $this->assertSame(range(2, 40, 2), $client->send($group)->get(60));
        $this->assertSame(10, $client->send(new Chord([$add->s(1, 2), $add->s(3, 4)], $sum->s()))->get(60));
        $set = $client->sendTasks(['x' => $add->s(1, 1), 'y' => $add->s(2, 2)]);
        $this->assertSame(['x' => 2, 'y' => 4], $set->get(60));
    }

    public function test_the_guide_prints_what_it_says(): void
    {
        [$version, $db] = ['5.7', 1];
        $queue = self::worker($version, $db);
        self::$workers['replies'] = Programs::pythonWorkerOnRabbitMq($version, 'replies', $db, 'rpc://');
        preg_match_all('/^```php\n(.*?)^```$/ms', file_get_contents(Programs::root() . '/docs/guides/rabbitmq.md'), $blocks);
        $code = implode($blocks[1]);
        preg_match_all('#^ *echo .*; // (.*)$#m', $code, $said);
        $this->assertCount(4, $said[1]);
        $this->expectOutputString(implode("\n", $said[1]) . "\n");
        eval(strtr($code, [
            "'amqp://localhost//'" => var_export(getenv('AMQP_URL'), true),
            "'redis://localhost'" => var_export(Programs::redisUrl($db), true),
            "'shop'" => var_export($queue, true),
        ]));
    }

    public function test_a_list_of_servers_is_tried_in_turn(): void
    {
        [$version, $db] = ['5.7', 1];
        $queue = self::worker($version, $db);
        $away = 'amqp://guest:guest@127.0.0.1:1//';
        $lists = ["$away;" . getenv('AMQP_URL'), [$away, getenv('AMQP_URL')]];
        foreach ($lists as $list) {
            $client = new Client($list, Programs::redisUrl($db), queue: $queue);
            $this->assertSame(5, $client->sendTask('proj.add', [2, 3])->get(60));
            $node = "$queue@" . gethostname();
            $this->assertSame([$node], array_keys($client->control()->ping($node, timeout: 60)));
        }
        $celery = new \Celery($lists[0]);
        $this->assertTrue($celery->PostTask('proj.add', [1, 1], false, $queue));
    }

    public function test_pipelined_posts(): void
    {
        [$version, $db] = ['5.7', 1];
        $queue = self::worker($version, $db);
        $client = new Client(getenv('AMQP_URL'), Programs::redisUrl($db), queue: $queue, publish: 'pipelined');
        $results = array_map(fn ($n) => $client->sendTask('proj.add', [$n, 1]), range(1, 50));
        // The first one finds no queue, and creates it when it is confirmed.
        $late = $client->with(queue: 'rabbit.late')->sendTask('proj.add', [1, 1]);
        $client->flush();
        $this->assertSame(range(2, 51), array_map(fn ($result) => $result->get(60), $results));
        ini_set('celery.create_missing_queues', '0');
        try {
            $lost = $client->with(queue: 'nowhere')->sendTask('proj.add', [1, 1]);
            $client->flush();
            $this->fail('the post was lost');
        } catch (\CeleryPublishException $exception) {
            $this->assertSame([$lost->id], $exception->taskIds());
            $this->assertFalse($exception->outcomeUnknown());
        } finally {
            ini_restore('celery.create_missing_queues');
        }
    }

    public function test_protocol_1_and_other_serializers(): void
    {
        [$version, $db] = ['5.7', 1];
        $queue = self::worker($version, $db);
        $client = new Client(getenv('AMQP_URL'), Programs::redisUrl($db), queue: $queue);
        $this->assertSame(5, $client->with(protocol: 1)->sendTask('proj.add', [2, 3])->get(60));
        $this->assertSame(5, $client->with(compression: 'gzip')->sendTask('proj.add', [2, 3])->get(60));
    }

    public function test_a_missing_queue_is_reported_if_none_may_be_created(): void
    {
        ini_set('celery.create_missing_queues', '0');
        try {
            (new \CeleryAdvanced(self::details()))->PostTask('proj.add', [1], false, 'nowhere');
            $this->fail('the post was lost');
        } catch (\CeleryPublishException $exception) {
            $this->assertFalse($exception->outcomeUnknown());
            $this->assertStringContainsString('nowhere', $exception->getMessage());
        } finally {
            ini_restore('celery.create_missing_queues');
        }
    }

    public function test_a_refused_login_and_an_unknown_virtual_host(): void
    {
        $post = fn (array $changes) => (new \CeleryAdvanced(self::details($changes)))->PostTask('proj.add', [1], false);
        try {
            $post(['password' => 'hunter2']);
            $this->fail('the login was accepted');
        } catch (\CeleryConnectionException $exception) {
            $this->assertStringContainsString('refused the credentials', $exception->getMessage());
            $this->assertStringNotContainsString('hunter2', $exception->getMessage());
        }
        try {
            $post(['vhost' => 'elsewhere']);
            $this->fail('the virtual host was found');
        } catch (\CeleryException $exception) {
            $this->assertStringContainsString('elsewhere', $exception->getMessage());
        }
    }

    public function test_what_needs_a_redis_says_so(): void
    {
        $client = new Client(getenv('AMQP_URL'), queue: 'unread');
        foreach ([
            'For the number of waiting tasks use queueLengths().' => fn () => $client->waitingTasks('unread'),
            'Ask the workers: control()->inspect()->active()' => fn () => $client->heldTasks(),
            'Use Python\'s celery beat.' => fn () => $client->schedules()->get('a'),
            'Use confirmed.' => fn () => $client->sendTask('proj.add', publish: 'once'),
        ] as $advice => $call) {
            try {
                $call();
                $this->fail("no exception: $advice");
            } catch (\CeleryException $exception) {
                $this->assertStringContainsString('is not supported with RabbitMQ', $exception->getMessage());
                $this->assertStringContainsString($advice, $exception->getMessage());
            }
        }
        $add = $client->signature('proj.add');
        $this->expectException(\CeleryException::class);
        $client->send(new Chord([$add->s(1, 2)], $client->signature('proj.xsum')));
    }
}
