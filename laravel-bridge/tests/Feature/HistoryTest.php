<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Dashboard\Chart;
use CeleryBridge\Dashboard\Seconds;
use CeleryBridge\History\KnownTasks;
use CeleryBridge\History\Minutes;
use CeleryBridge\History\RecentTask;
use CeleryBridge\History\RecentTasks;
use CeleryBridge\History\Recorder;
use CeleryBridge\History\Row;
use CeleryBridge\History\Runtimes;
use CeleryBridge\Outcomes\Listener;
use CeleryBridge\Outcomes\Settlement;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Tests\Support\WithDashboard;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;
use PDOException;

/**
 * What listeners count of events, with a real Redis on which the test sends them, and the page that
 * shows it.
 */
final class HistoryTest extends TestCase
{
    use WithDashboard;

    private const FAR = 1_000.0;

    public function test_several_listeners_count_each_event_once(): void
    {
        $this->command('migrate', ['--force' => true]);
        [$one, $two] = [$this->recorder(), $this->recorder()];
        $listeners = [$this->listener($one), $this->listener($two)];
        $this->turn($listeners);

        $this->send(['received', 'a', 'name' => 'mail'], ['received', 'b', 'name' => 'mail'], ['received', 'c', 'name' => 'video'], ['started', 'a']);
        $this->send(['succeeded', 'a', 'runtime' => 0.2], ['failed', 'b'], ['retried', 'c'], ['succeeded', 'unknown', 'runtime' => 1], ['revoked', 'c']);
        $this->turnUntil($listeners, ['mail' => [2, 1, 1, 0, 0], 'video' => [1, 0, 0, 1, 1], '(other)' => [0, 1, 0, 0, 0]]);

        // The writer ends. The other one goes on, and knows the names from before. It hears events
        // that the first one has counted.
        $this->send(['received', 'e', 'name' => 'late']);
        $this->turnUntil([$listeners[0]], ['late' => [1, 0, 0, 0, 0], 'mail' => [2, 1, 1, 0, 0], 'video' => [1, 0, 0, 1, 1], '(other)' => [0, 1, 0, 0, 0]]);
        $one->stop();
        $two = [$listeners[1]];
        $this->turn($two);
        $this->turn($two);
        $this->send(['succeeded', 'c', 'runtime' => 3.0], ['received', 'd', 'name' => 'mail']);
        $all = ['late' => [1, 0, 0, 0, 0], 'mail' => [3, 1, 1, 0, 0], 'video' => [1, 1, 0, 1, 1], '(other)' => [0, 1, 0, 0, 0]];
        $this->turnUntil($two, $all);
        $this->turn($listeners);
        $this->assertSame($all, $this->counts());
        $queue = DB::table('celery_minutes')->where('kind', 'queue')->get();
        $this->assertSame(['celery', 7], [$queue[0]->name, (int) $queue->max('length')]);
    }

    public function test_a_writer_that_has_lost_its_place_writes_nothing(): void
    {
        $this->command('migrate', ['--force' => true]);
        $minutes = $this->app->make(Minutes::class);
        $row = new Row(5, Row::TASK, 'mail');
        $row->received = 3;

        $this->assertTrue($minutes->claim('default', 'one', -1.0));
        $this->assertTrue($minutes->write('default', 'one', 1, [$row]));
        $this->assertTrue($minutes->claim('default', 'two', self::FAR));
        $this->assertFalse($minutes->write('default', 'one', 2, [$row]));
        $this->assertFalse($minutes->claim('default', 'one', self::FAR));
        $this->assertSame(['mail' => [3, 0, 0, 0, 0]], $this->counts());

        // A write whose answer was lost is repeated.
        $this->assertTrue($minutes->write('default', 'two', 1, [$row]));
        $this->assertTrue($minutes->write('default', 'two', 1, [$row]));
        $this->assertSame(['mail' => [6, 0, 0, 0, 0]], $this->counts());

        $minutes->release('default', 'one');
        $this->assertFalse($minutes->claim('default', 'one', self::FAR));
        $minutes->release('default', 'two');
        $this->assertTrue($minutes->claim('default', 'one', self::FAR));
        $this->assertTrue($minutes->claim('other', 'two', self::FAR));
    }

    public function test_what_was_counted_waits_while_the_database_fails(): void
    {
        $this->command('migrate', ['--force' => true]);
        $recorder = $this->recorder();
        $listener = $this->listener($recorder);
        $this->turn([$listener]);
        $this->send(['received', 'a', 'name' => 'mail'], ['succeeded', 'a', 'runtime' => 0.1]);
        $known = (fn (): KnownTasks => $this->known)->call($recorder);
        for ($deadline = microtime(true) + 60; $known->count() === 0 && microtime(true) < $deadline;) {
            $listener->turn();
        }
        Schema::rename('celery_minutes', 'elsewhere');
        for ($turn = 0; $turn < 3; $turn++) {
            try {
                $listener->turn();
                $this->fail('it was written');
            } catch (PDOException) {
                // The table is missing.
            }
        }

        Schema::rename('elsewhere', 'celery_minutes');
        $this->assertSame([], $this->counts());
        $this->turnUntil([$listener], ['mail' => [1, 1, 0, 0, 0]]);
    }

    public function test_old_minutes_are_deleted(): void
    {
        $this->command('migrate', ['--force' => true]);
        $minutes = $this->app->make(Minutes::class);
        $minutes->claim('default', 'one', self::FAR);
        $minutes->claim('other', 'one', self::FAR);
        $rows = static fn (int ...$at): array => array_map(static fn (int $minute): Row => new Row($minute, Row::TASK, 'mail'), $at);
        $minutes->write('default', 'one', 1, $rows(1, 2, 5, 6));
        $minutes->write('other', 'one', 1, $rows(1));
        $minutes->prune('default', 6);

        $this->assertSame([['default', 6], ['other', 1]], DB::table('celery_minutes')->orderBy('celery_connection')->get()
            ->map(static fn ($row): array => [$row->celery_connection, (int) $row->minute])->all());
    }

    public function test_runtimes_of_several_minutes_are_added_up(): void
    {
        $this->assertNull((new Runtimes())->percentile(0.5));
        $this->assertNull((new Runtimes())->toJson());
        $fast = new Runtimes();
        $slow = new Runtimes();
        for ($run = 0; $run < 95; $run++) {
            $fast->add(0.01);
        }
        foreach ([10.0, 10.0, 10.0, 10.0, 1e9] as $seconds) {
            $slow->add($seconds);
        }
        $all = Runtimes::fromJson($fast->toJson());
        $all->merge(Runtimes::fromJson($slow->toJson()));

        $this->assertSame(100, $all->count());
        $this->assertEqualsWithDelta(0.01, $all->percentile(0.5), 0.0019);
        $this->assertEqualsWithDelta(0.01, $all->percentile(0.95), 0.0019);
        $this->assertEqualsWithDelta(10.0, $all->percentile(0.96), 1.9);
        $this->assertGreaterThanOrEqual(10.0, $all->percentile(0.99));
        $this->assertLessThan(120_000.0, $all->percentile(1.0));
        $tiny = new Runtimes();
        $tiny->add(0.0);
        $tiny->add(-1.0);
        $this->assertSame(0.0001, $tiny->percentile(1.0));
        $this->assertSame(2, Runtimes::fromJson('{"0":2,"-1":5,"999":5,"x":5,"3":"y"}')->count());
        $this->assertSame(0, Runtimes::fromJson('nonsense')->count());
    }

    public function test_the_names_of_tasks_are_bounded(): void
    {
        $names = new KnownTasks(10);
        for ($task = 0; $task < 1_000; $task++) {
            $names->remember((string) $task, "name {$task}");
        }

        $this->assertLessThanOrEqual(20, $names->count());
        $this->assertSame(['name 999', 'name 990', null], [$names->nameOf('999'), $names->nameOf('990'), $names->nameOf('5')]);
    }

    public function test_names_beyond_the_limit_of_a_minute_share_a_row(): void
    {
        $this->command('migrate', ['--force' => true]);
        $listener = $this->listener($recorder = $this->recorder());
        $this->turn([$listener]);
        $this->send(...array_map(static fn (int $task): array => ['received', "id-{$task}", 'name' => "task-{$task}"], range(1, 300)));
        $this->turnUntil([$listener], null, 300);

        $names = DB::table('celery_minutes')->where('kind', 'task')->where('name', '!=', Recorder::OTHER);
        // The minute may change in between; the second one has at most the rest.
        $largest = (int) $names->selectRaw('count(*) as n')->groupBy('minute')->get()->max('n');
        $this->assertTrue($largest >= 150 && $largest <= 200, (string) $largest);
    }

    public function test_the_newest_tasks_of_all_programs_are_shown(): void
    {
        $this->get('/celery/tasks')->assertOk()->assertSee('celery_recent_tasks does not exist');
        $this->get('/celery/task?id=a')->assertStatus(404);
        $this->command('migrate', ['--force' => true]);
        $this->get('/celery/tasks')->assertSee('No tasks');
        $listener = $this->listener($this->recorder());
        $this->turn([$listener]);
        $markup = '<script>alert("x")</script>';
        $this->send(
            ['received', 'a', 'name' => 'mail', 'args' => "('{$markup}',)", 'kwargs' => '{}'],
            ['received', 'b', 'name' => 'mail', 'args' => '(7,)', 'kwargs' => "{'to': 'x'}"],
            ['succeeded', 'b', 'runtime' => 0.25],
            ['retried', 'a', 'exception' => 'OSError()'],
            ['failed', 'a', 'exception' => "ValueError('{$markup}')", 'traceback' => "line 7 {$markup}"],
        );
        $this->turnUntil([$listener], ['mail' => [2, 1, 1, 1, 0]]);

        $page = $this->getJson('/celery/tasks')->assertOk()->json();
        $tasks = array_column($page['tasks'], null, 'id');
        $this->assertSame(['SUCCESS', "(7,) {'to': 'x'}", 0.25, 'w@h'], [$tasks['b']['state'], $tasks['b']['arguments'], $tasks['b']['runtime'], $tasks['b']['worker']]);
        $this->assertSame(['FAILURE', "ValueError('{$markup}')"], [$tasks['a']['state'], $tasks['a']['exception']]);
        $this->assertSame(['a'], array_column($this->getJson('/celery/tasks?filter=failed')->json()['tasks'], 'id'));
        foreach (['/celery/tasks', '/celery/task?id=a', '/celery/task?id=a&fragment=1'] as $address) {
            $html = (string) $this->get($address)->assertOk()->getContent();
            $this->assertStringContainsString('&lt;script&gt;alert(', $html, $address);
            $this->assertStringNotContainsString('<script>alert', $html, $address);
        }
        $this->get('/celery/task?id=a')->assertSee('line 7')->assertDontSee('id="repeat"', false);
        foreach (['tasks?filter=open', 'tasks?filter[]=all', 'task', 'task?id[]=a', 'task?id=c'] as $address) {
            $this->get("/celery/{$address}")->assertStatus(404);
        }
    }

    public function test_a_task_whose_result_has_its_arguments_is_sent_again_once(): void
    {
        $this->command('migrate', ['--force' => true]);
        $minutes = $this->app->make(Minutes::class);
        $minutes->claim('default', 'one', self::FAR);
        $minutes->write('default', 'one', 1, [], array_map(static fn (string $id): RecentTask => new RecentTask(
            $id,
            'mail',
            '(7,)',
            'FAILURE',
            'w@h',
            'ValueError()',
            null,
            null,
            5.0,
        ), ['a', 'b']));
        $this->broker->finish('a', 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => [], 'exc_module' => 'builtins'], null, [
            'name' => 'mail', 'args' => [7], 'kwargs' => ['to' => 'x'], 'queue' => 'mails', 'worker' => 'w@h', 'retries' => 0,
        ]);
        $this->broker->finish('b', 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => [], 'exc_module' => 'builtins']);

        $this->get('/celery/task?id=a')->assertSee('id="repeat"', false);
        $this->get('/celery/task?id=b')->assertDontSee('id="repeat"', false)->assertSee('result_extended');
        $this->postJson('/celery/task/repeat', ['id' => 'a', '_token' => $this->token()])->assertOk();
        $this->postJson('/celery/task/repeat', ['id' => 'a', '_token' => $this->token()])->assertStatus(409);
        $this->postJson('/celery/task/repeat', ['id' => 'b', '_token' => $this->token()])->assertStatus(409);
        $this->postJson('/celery/task/repeat', ['id' => 'c', '_token' => $this->token()])->assertStatus(404);

        $sent = $this->broker->messages('mails');
        $this->assertCount(1, $sent);
        $this->assertSame(['mail', [7], 'x'], [$sent[0]->headers->task, $sent[0]->args, $sent[0]->kwargs->to]);
        $this->assertNotSame('a', $sent[0]->headers->id);
        $this->assertSame([], $this->broker->messages('celery'));
    }

    public function test_the_newest_failures_stay_longer_than_other_tasks(): void
    {
        $this->command('migrate', ['--force' => true]);
        $recent = new RecentTasks($this->app, 3);
        $task = static fn (string $id, string $state, float $at): RecentTask => new RecentTask($id, 'mail', '', $state, 'w@h', null, null, null, $at);
        $recent->note('default', [$task('failed', 'FAILURE', 1.0)]);
        for ($number = 2; $number < 9; $number++) {
            $recent->note('default', [$task("id-{$number}", 'SUCCESS', (float) $number)]);
        }
        $recent->note('other', [$task('id-2', 'SUCCESS', 2.0)]);
        // The end of a task replaces its retry.
        $recent->note('default', [$task('id-8', 'SUCCESS', 9.0)]);

        $ids = static fn (string $connection, bool $failed): array => array_map(static fn (RecentTask $task): string => $task->id, $recent->newest($connection, $failed, 50));
        $this->assertSame(['id-8', 'id-7', 'id-6', 'failed'], $ids('default', false));
        $this->assertSame(['failed'], $ids('default', true));
        $this->assertSame(['id-2'], $ids('other', false));
    }

    public function test_the_page_says_that_history_is_not_recorded(): void
    {
        $this->get('/celery/history')->assertOk()->assertSee('celery_minutes does not exist');
        $this->command('migrate', ['--force' => true]);
        $this->get('/celery/history')->assertOk()->assertSee('celery:listen')->assertSee('Nothing was recorded');
        foreach (['span=year', 'span[]=day', 'task=', 'task[]=a', 'task='.str_repeat('a', 192), 'connection=other'] as $query) {
            $this->get("/celery/history?{$query}")->assertStatus(404);
        }
    }

    public function test_the_page_shows_counts_percentiles_and_charts(): void
    {
        $this->command('migrate', ['--force' => true]);
        $minutes = $this->app->make(Minutes::class);
        $minutes->claim('default', 'one', self::FAR);
        $now = intdiv(time(), 60);
        $mail = new Row($now - 2, Row::TASK, 'mail');
        [$mail->received, $mail->succeeded, $mail->failed] = [3, 2, 1];
        $mail->runtimes->add(0.5);
        $mail->runtimes->add(2.0);
        $later = new Row($now - 1, Row::TASK, 'mail');
        $later->succeeded = 1;
        $later->runtimes->add(0.5);
        $markup = new Row($now - 1, Row::TASK, '<script>alert("x")</script>');
        $markup->retried = 1;
        $old = new Row($now - 90, Row::TASK, 'mail');
        $old->succeeded = 100;
        $queue = new Row($now - 1, Row::QUEUE, 'celery');
        $queue->length = 40;
        $minutes->write('default', 'one', 1, [$mail, $later, $markup, $old, $queue]);

        $page = $this->getJson('/celery/history')->assertOk()->json();
        $this->assertSame(['mail', $markup->name], array_column($page['tasks'], 'name'));
        $task = $page['tasks'][0];
        $this->assertSame([3, 1, 0.07], [$task['succeeded'], $task['failed'], $task['per_minute']]);
        $this->assertEqualsWithDelta(0.5, $task['p50'], 0.1);
        $this->assertEqualsWithDelta(2.0, $task['p95'], 0.4);
        $this->assertSame([60, 3, 1], [count($page['points']), array_sum(array_column($page['points'], 'succeeded')), array_sum(array_column($page['points'], 'failed'))]);
        $this->assertSame([40], array_values(array_filter($page['queues']['celery'])));
        foreach (['6-hours' => 72, 'day' => 96, 'week' => 84] as $span => $steps) {
            $long = $this->getJson("/celery/history?span={$span}")->assertOk()->json();
            $this->assertSame([$steps, 103], [count($long['points']), array_sum(array_column($long['points'], 'succeeded'))]);
        }
        $only = $this->getJson('/celery/history?task='.rawurlencode($markup->name))->json();
        $this->assertSame(0, array_sum(array_column($only['points'], 'succeeded')));
        $this->assertCount(2, $only['tasks']);

        foreach (['/celery/history', '/celery/history?span=week&fragment=1', '/celery/history?task=mail'] as $address) {
            $html = (string) $this->get($address)->assertOk()->getContent();
            $this->assertStringContainsString('<rect class="key-1"', $html);
            $this->assertStringContainsString('<polyline class="key-2"', $html);
            $this->assertStringContainsString('&lt;script&gt;alert(', $html);
            $this->assertDoesNotMatchRegularExpression('/<script>alert| style=/', $html);
        }
    }

    public function test_shapes_fit_the_chart(): void
    {
        $bars = Chart::bars(['good' => [0, 3, 1], 'bad' => [0, 1, 0]]);
        $this->assertSame(4.0, $bars->highest);
        $this->assertSame([['x' => 240.0, 'y' => 30.0, 'width' => 192.0, 'height' => 90.0], ['x' => 480.0, 'y' => 90.0, 'width' => 192.0, 'height' => 30.0]], $bars->bars['good']);
        $this->assertSame([['x' => 240.0, 'y' => 0.0, 'width' => 192.0, 'height' => 30.0]], $bars->bars['bad']);
        $lines = Chart::lines(['a' => [null, 1, 2, null, 4], 'b' => [null, null, null, null, null]]);
        $this->assertSame(4.0, $lines->highest);
        $this->assertSame([['201.6,90 345.6,60', '633.6,0 633.6,0'], []], array_values($lines->lines));
        $this->assertFalse($lines->isEmpty);
        $this->assertTrue(Chart::lines(['a' => [null]])->isEmpty);
        $this->assertSame([[0, 1], [2, 3]], [array_map($bars->colour(...), [0, 1]), array_map($lines->colour(...), [0, 1])]);
        $this->assertSame([1.0, 1.0], [Chart::bars(['a' => [], 'b' => []])->highest, Chart::lines([])->highest]);
        $this->assertSame(
            ['0.10 ms', '37 ms', '1.2 s', '12 s', '12 min', '30 h'],
            array_map(Seconds::show(...), [0.0001, 0.037, 1.21, 12.3, 720.0, 108_000.0]),
        );
    }

    private function recorder(): Recorder
    {
        return new Recorder($this->app->make(Minutes::class), 'default', static fn (): array => ['celery' => 7], self::FAR, 0.0, self::FAR);
    }

    private function listener(Recorder $recorder): Listener
    {
        $transport = new ExtensionTransport($this->app->make(Factory::class)->settings());

        return new Listener(
            $transport->client(...),
            'default',
            $this->app->make(TrackedJobs::class),
            new Settlement($this->app),
            recorder: $recorder,
        );
    }

    /** @param  list<Listener>  $listeners */
    private function turn(array $listeners): void
    {
        foreach ($listeners as $listener) {
            $listener->turn();
        }
    }

    /**
     * @param  list<Listener>  $listeners
     * @param  array<string, list<int>>|null  $counts  null: any of this number of received tasks
     */
    private function turnUntil(array $listeners, ?array $counts, int $received = 0): void
    {
        $deadline = microtime(true) + 60;
        while (microtime(true) < $deadline) {
            $this->turn($listeners);
            if ($counts === null ? array_sum(array_column($this->counts(), 0)) === $received : $this->counts() === $counts) {
                return;
            }
        }
        $this->assertSame($counts ?? $received, $this->counts());
    }

    /** @return array<string, list<int>> received, succeeded, failed, retried and revoked by name */
    private function counts(): array
    {
        $counts = [];
        foreach (DB::table('celery_minutes')->where('kind', 'task')->get() as $row) {
            foreach ([$row->received, $row->succeeded, $row->failed, $row->retried, $row->revoked] as $index => $count) {
                $counts[$row->name][$index] = ($counts[$row->name][$index] ?? 0) + (int) $count;
            }
        }
        uksort($counts, static fn (string $a, string $b): int => [$a === Recorder::OTHER, $a] <=> [$b === Recorder::OTHER, $b]);

        return $counts;
    }

    /**
     * Sends events as workers do: several in one message.
     *
     * @param  array<array-key, mixed>  ...$events  type and id, then named fields
     */
    private function send(array ...$events): void
    {
        $body = array_map(static fn (array $event): array => [
            'type' => "task-{$event[0]}", 'uuid' => $event[1], 'hostname' => 'w@h', 'timestamp' => microtime(true), 'clock' => 1,
        ] + array_filter($event, is_string(...), ARRAY_FILTER_USE_KEY), $events);
        $this->broker->redis()->publish('/0.celeryev/task.multi', (string) json_encode([
            'body' => base64_encode((string) json_encode($body)), 'content-type' => 'application/json', 'content-encoding' => 'utf-8',
            'headers' => ['hostname' => 'w@h'],
            'properties' => [
                'body_encoding' => 'base64', 'delivery_mode' => 1, 'delivery_tag' => 'tag', 'priority' => 0,
                'delivery_info' => ['exchange' => 'celeryev', 'routing_key' => 'task.multi'],
            ],
        ]));
    }
}
