<?php

namespace CeleryTests\Interop;

use Celery\Chain;
use Celery\Chord;
use Celery\Client;
use Celery\Group;
use CeleryTests\Background;
use CeleryTests\Fpm;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * Results of Python workers and of ours come as replies over RabbitMQ: Celery's result backend
 * `rpc://`.
 */
class RabbitMqResultsTest extends TestCase
{
    private const OURS = 'playground';

    /** @var array<string, Background> */
    private static array $workers = [];

    public static function tearDownAfterClass(): void
    {
        self::$workers = [];
    }

    protected function tearDown(): void
    {
        ini_restore('celery.reply_queue');
        ini_restore('celery.reply_expires');
        ini_restore('celery.keep_results');
    }

    /** Returns the name of each worker: Python Celery in three versions, and ours. */
    public function workers(): array
    {
        $workers = [self::OURS, ...Programs::PYTHONS];

        return array_combine($workers, array_map(fn ($worker) => [$worker], $workers));
    }

    private static function queue(string $worker = '5.7'): string
    {
        $queue = "rpc.$worker";
        self::$workers[$worker] ??= $worker === self::OURS
            ? Programs::playgroundOnRabbitMq($queue, 'rpc://', ['-n', "$queue@%h"])
            : Programs::pythonWorkerOnRabbitMq($worker, $queue, 1, 'rpc://');

        return $queue;
    }

    private static function celery(string $vhost = '/'): \Celery
    {
        return new \Celery('127.0.0.1', 'guest', 'guest', $vhost, 'celery', 'celery', (int) getenv('AMQP_PORT'));
    }

    private static function client(): Client
    {
        return new Client(getenv('AMQP_URL'), queue: self::queue());
    }

    /** Runs Python code with a channel of RabbitMQ, and returns what it prints. */
    private static function python(string $code): string
    {
        $code = "import amqp, os\n"
            . "connection = amqp.Connection('127.0.0.1:' + os.environ['AMQP_PORT'])\n"
            . "connection.connect()\nchannel = connection.channel()\n$code\n";
        exec(Programs::python('5.7') . ' -c ' . escapeshellarg($code) . ' 2>&1', $output, $status);
        self::assertSame(0, $status, implode("\n", $output));

        return implode("\n", $output);
    }

    /** Runs PHP code in another process, and returns what it prints. */
    private static function elsewhere(string $code): string
    {
        exec(PHP_BINARY . ' -r ' . escapeshellarg($code) . ' 2>&1', $output);

        return implode("\n", $output);
    }

    /** Sends a signal to a process and its children: the node of RabbitMQ is a child of a script. */
    private static function signal(int $pid, int $signal): void
    {
        foreach (array_filter(explode(' ', file_get_contents("/proc/$pid/task/$pid/children"))) as $child) {
            self::signal((int) $child, $signal);
        }
        posix_kill($pid, $signal);
    }

    private function assertThrows(string $why, callable $call): void
    {
        try {
            $call();
        } catch (\CeleryException $exception) {
            $this->assertStringContainsString($why, $exception->getMessage());

            return;
        }
        $this->fail("no exception: $why");
    }

    private function assertTimesOut(callable $call): void
    {
        try {
            $call();
        } catch (\Celery\ResultTimeout $exception) {
            $this->assertStringContainsString('not there after', $exception->getMessage());

            return;
        }
        $this->fail('the result was there');
    }

    /** @dataProvider workers */
    public function test_the_compatible_api_needs_nothing_but_rabbitmq(string $worker): void
    {
        $celery = self::celery();
        $queue = self::queue($worker);
        $this->assertSame(5, $celery->PostTask('proj.add', [2, 3], true, $queue)->get(60));
        $failed = $celery->PostTask('proj.fail', ['alas'], true, $queue);
        $this->assertStringContainsString('alas', json_encode($failed->get(60)));
        $this->assertFalse($failed->isSuccess());
        $this->assertStringContainsString('ValueError', $failed->getTraceback());

        // Many, read in the reverse order: those that have arrived are kept.
        $results = $celery->PostTasks(array_map(fn ($n) => ['proj.add', [$n, 1]], range(1, 200)), true, $queue);
        foreach (array_reverse($results, true) as $index => $result) {
            $this->assertSame($index + 2, $result->get(60));
        }
        $this->assertTrue($results[7]->isReady());
        $this->assertSame('SUCCESS', $results[7]->state);

        $polled = $celery->PostTask('proj.custom_state', [], true, $queue);
        Wait::until('the result', 60, fn () => $polled->isReady());
        $this->assertSame('done', $polled->result);
        $this->assertTrue($celery->PostTask('proj.add', [1, 1], false, $queue));
        $this->assertFalse($celery->getAsyncResultMessage('proj.add', $polled->getId()));
    }

    /** @dataProvider workers */
    public function test_tasks_sets_and_canvases_of_a_client(string $worker): void
    {
        $queue = self::queue($worker);
        $client = new Client(getenv('AMQP_URL'), 'rpc://', queue: $queue);
        $result = $client->sendTask('proj.add', [2, 3]);
        $this->assertSame(5, $result->get(60));
        // A second object for the task finds what is kept.
        $this->assertSame(5, $client->result($result->id)->get(0));
        $states = [];
        $client->sendTask('proj.custom_state')->get(60, onMessage: function ($meta) use (&$states) {
            $states[] = $meta->state;
        });
        $this->assertSame(['PROGRESS', 'SUCCESS'], array_values(array_diff($states, ['STARTED'])));

        $add = $client->signature('proj.add')->set(queue: $queue);
        $chain = $client->send(new Chain($add->s(2, 3), $add->s(4), $add->s(5)));
        $this->assertSame(14, $chain->get(60));
        $this->assertSame(5, $chain->parent->parent->get(60));
        $broken = new Chain($client->signature('proj.fail', ['first'])->set(queue: $queue), $add->s(4));
        $this->assertThrows('first', fn () => $client->send($broken)->get(60));
        $group = new Group(...array_map(fn ($n) => $add->s($n, $n), range(1, 150)));
        $this->assertSame(range(2, 300, 2), $client->send($group)->get(60));
        $set = $client->sendTasks(['slow' => $client->signature('proj.sleep', [0.5])->set(queue: $queue), 'fast' => $add->s(2, 2)]);
        $order = [];
        foreach ($set->asCompleted(60) as $key => $done) {
            $order[] = $key;
            // A wait inside the loop has its own consumer.
            $this->assertSame(2, $client->sendTask('proj.add', [1, 1])->get(60));
        }
        $this->assertSame(['fast', 'slow'], $order);
        $this->assertTrue($set->successful());
    }

    public function test_what_is_not_supported_says_so(): void
    {
        $client = self::client();
        $add = $client->signature('proj.add')->set(queue: self::queue());
        $this->assertThrows('does not support chords', fn () => $client->send(new Chord([$add->s(1, 2)], $add->s(1))));
        $this->assertThrows('does not support saved groups', fn () => $client->groupResult('any'));
        $this->assertThrows('does not support saved groups', fn () => $client->send(new Group($add->s(1, 1)))->save());
        $this->assertThrows('rpc:// means replies over RabbitMQ', fn () => new Client(Programs::redisUrl(), 'rpc://'));
        $this->assertThrows('this is another RabbitMQ', fn () => new Client(getenv('AMQP_URL'), 'amqp://elsewhere'));
        $this->assertThrows('this is another RabbitMQ', fn () => new \CeleryAdvanced(
            ['host' => '127.0.0.1', 'login' => 'guest', 'password' => 'guest', 'vhost' => '/'],
            ['host' => 'elsewhere', 'login' => 'guest', 'password' => 'guest', 'vhost' => '/'],
        ));
        ini_set('celery.reply_queue', 'many');
        $this->assertThrows('celery.reply_queue is "many"', fn () => $client->sendTask('proj.add', [1, 1]));
    }

    public function test_another_process_and_a_fork_are_told_where_the_result_is(): void
    {
        $queue = self::queue();
        $celery = self::celery();
        $result = $celery->PostTask('proj.add', [2, 3], true, $queue);
        $new = self::client()->sendTask('proj.add', [3, 4]);
        $stored = var_export([serialize($result), serialize($new)], true);
        $port = getenv('AMQP_PORT');
        $printed = self::elsewhere(
            "new Celery('127.0.0.1', 'guest', 'guest', '/', 'celery', 'celery', $port);"
            . "foreach (array_map('unserialize', $stored) as \$result) {"
            . " try { echo \$result->get(5); } catch (CeleryException \$e) { echo \$e->getMessage(), PHP_EOL; } }"
        );
        $this->assertSame(2, substr_count($printed, 'is not known here'), $printed);
        $this->assertStringContainsString('celery.reply_queue=task', $printed);

        $child = pcntl_fork();
        if ($child === 0) {
            $told = false;
            try {
                $result->isReady();
            } catch (\CeleryException $exception) {
                $told = str_contains($exception->getMessage(), 'is not known here');
            }
            // The child has a queue of its own.
            $own = $celery->PostTask('proj.add', [20, 1], true, $queue)->get(60);
            posix_kill(getmypid(), $told && $own === 21 ? SIGTERM : SIGKILL);
        }
        pcntl_waitpid($child, $status);
        $this->assertSame(SIGTERM, pcntl_wtermsig($status));
        $this->assertSame(5, $result->get(60));
        $this->assertSame(7, $new->get(60));
    }

    /** @dataProvider workers */
    public function test_any_process_reads_a_queue_of_a_task(string $worker): void
    {
        ini_set('celery.reply_queue', 'task');
        $queue = self::queue($worker);
        $client = new Client(getenv('AMQP_URL'), queue: $queue);
        $celery = self::celery();
        $new = $client->sendTask('proj.add', [3, 4]);
        $kept = $celery->PostTask('proj.add', [2, 3], true, $queue);
        $stored = var_export([serialize($new), serialize($kept)], true);
        $url = var_export(getenv('AMQP_URL'), true);
        $printed = self::elsewhere(
            "ini_set('celery.reply_queue', 'task'); ini_set('celery.keep_results', '1'); new Celery($url);"
            . "foreach (array_map('unserialize', $stored) as \$result) { echo \$result->get(60); }"
        );
        $this->assertSame('75', $printed);
        // Neither the API for new code nor celery.keep_results deletes a result.
        $this->assertSame('SUCCESS', $client->result($new->id)->state());
        $this->assertSame(7, $new->get(60));
        $this->assertSame(5, $kept->get(60));
        $again = $client->result($kept->getId());
        $this->assertSame('PENDING', $again->state());
        $this->assertThrows('has no queue for replies', fn () => $again->get(60));
        $new->forget();
        $this->assertSame('PENDING', $client->result($new->id)->state());

        $states = [];
        $client->sendTask('proj.custom_state')->get(60, onMessage: function ($meta) use (&$states) {
            $states[] = $meta->state;
        });
        $this->assertSame('SUCCESS', array_pop($states));
        $add = $client->signature('proj.add')->set(queue: $queue);
        $chain = $client->send(new Chain($add->s(2, 3), $add->s(4)));
        $this->assertSame([9, 5], [$chain->get(60), $chain->parent->get(60)]);
        $group = new Group(...array_map(fn ($n) => $add->s($n, $n), range(1, 20)));
        $this->assertSame(range(2, 40, 2), $client->send($group)->get(60));
        $late = $client->sendTask('proj.sleep', [3]);
        try {
            $late->get(0.2);
            $this->fail('the result was there');
        } catch (\Celery\ResultTimeout) {
            $this->assertSame(3, $late->get(60));
        }
        // Without a wish for the result, a task has none.
        $this->assertTrue($celery->PostTask('proj.add', [1, 1], false, $queue));
        $ignored = $client->sendTask('proj.add', [1, 1], ignoreResult: true);
        $this->assertThrows('has no queue for replies', fn () => $ignored->get(60));
    }

    public function test_one_server_under_two_names_has_one_queue(): void
    {
        $one = self::client();
        $other = new Client(str_replace('127.0.0.1', 'localhost', getenv('AMQP_URL')), queue: self::queue());
        $first = $one->sendTask('proj.add', [1, 1]);
        $slow = $other->sendTask('proj.sleep', [1]);
        // The wait for the second takes the reply to the first out of the queue.
        $this->assertSame(1, $slow->get(60));
        $this->assertSame(2, $first->get(5));
    }

    public function test_a_wait_ends_at_its_deadline_whatever_happened_before(): void
    {
        $port = getenv('AMQP_PORT');
        $proxy = proc_open([Programs::path('testkit'), 'proxy', $port], [['pipe', 'r'], ['pipe', 'w']], $pipes);
        $url = str_replace(":$port", ':' . (int) fgets($pipes[1]), getenv('AMQP_URL'));
        $client = new Client($url, queue: 'never', postTimeout: 60);
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, fn () => fwrite($pipes[0], "reset-all\n"));
        foreach (['process', 'task'] as $kind) {
            ini_set('celery.reply_queue', $kind);
            $result = $client->sendTask('proj.add', [1, 1]);
            pcntl_alarm(1);
            $this->assertTimesOut(fn () => $result->get(2.5));
        }
        // The first look at the queues of all tasks takes longer.
        $set = $client->sendTasks(array_fill(0, 200, $client->signature('proj.add', [1, 1])));
        $this->assertTimesOut(fn () => $set->get(0.01));
        pcntl_signal(SIGALRM, SIG_DFL);
        proc_terminate($proxy);
    }

    public function test_one_queue_for_all_posts_of_a_process(): void
    {
        $client = self::client();
        $add = $client->signature('proj.add', [1, 1]);
        $results = $client->sendTasks(array_fill(0, 500, $add->set(queue: 'unread')));
        $body = self::python("print(channel.basic_get('unread', no_ack=True).properties['reply_to'])");
        $seen = self::python(
            "names = {channel.basic_get('unread', no_ack=True).properties['reply_to'] for _ in range(499)}\nprint(*names)"
        );
        $this->assertSame($body, $seen);
        $this->assertMatchesRegularExpression('/^[0-9a-f-]{36}$/', $body);
        // It is declared as the guide says.
        $arguments = "{'x-queue-type': 'classic', 'x-expires': 3600000, 'x-max-length': 100000, 'x-message-ttl': 3600000}";
        self::python("channel.queue_declare('$body', durable=True, auto_delete=False, arguments=$arguments)");
    }

    public function test_a_request_reads_and_keeps_nothing_of_an_earlier_one_of_its_process(): void
    {
        $queue = self::queue();
        $pages = new Fpm(Programs::root() . '/php-tests/fpm/pages');
        $ready = fn (string $queue) => (int) self::python("print(channel.queue_declare('$queue', passive=True).message_count)");
        // The address of the process.
        $pages->get('replies.php', ['posts' => 1, 'queue' => 'unread.fpm']);
        $address = self::python("print(channel.basic_get('unread.fpm', no_ack=True).properties['reply_to'])");
        $first = $pages->get('replies.php', ['posts' => 5, 'queue' => $queue])->told();
        Wait::until('the replies', 60, fn () => $ready($address) === 5);
        $second = $pages->get('replies.php', ['read' => 'state', 'id' => $first['id']])->told();
        $this->assertSame($first['pid'], $second['pid']);
        $this->assertStringContainsString('is not known here', $second['read']);
        // The first post of a request removes what earlier ones did not read.
        $pages->get('replies.php', ['posts' => 6, 'queue' => $queue]);
        Wait::until('all replies', 60, fn () => $ready($address) === 6);
        $this->assertSame($first['pid'], $pages->get('replies.php', ['posts' => 1, 'queue' => 'unread.fpm'])->told()['pid']);
        $this->assertSame(0, $ready($address));
        $third = $pages->get('replies.php', ['posts' => 3, 'queue' => $queue, 'read' => 'last'])->told();
        $this->assertSame([$first['pid'], 4], [$third['pid'], $third['read']]);
    }

    public function test_a_queue_that_is_gone_and_a_server_that_does_not_answer(): void
    {
        $queue = self::queue();
        $client = self::client();
        $slow = $client->sendTask('proj.sleep', [30]);
        $client->sendTask('proj.add', [1, 1], queue: 'probe');
        $address = self::python("print(channel.basic_get('probe', no_ack=True).properties['reply_to'])");
        self::python("channel.queue_delete('$address')");
        $this->assertThrows('is gone from', fn () => $slow->get(60));
        $this->assertThrows('is gone from', fn () => $slow->ready());
        // The next post declares it again.
        $this->assertSame(2, $client->sendTask('proj.add', [1, 1])->get(60));

        $frozen = $client->sendTask('proj.sleep', [0.1]);
        self::signal((int) getenv('AMQP_PID'), SIGSTOP);
        try {
            $this->assertThrows('was not there after 0.5 seconds', fn () => $frozen->get(0.5));
            $impatient = $client->with(commandTimeout: 0.5)->result($frozen->id);
            $this->assertThrows('took longer than', fn () => $impatient->ready());
        } finally {
            self::signal((int) getenv('AMQP_PID'), SIGCONT);
        }
        $this->assertSame(0.1, $frozen->get(60));
    }
}
