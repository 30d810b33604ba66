<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\Extension;
use DomainException;
use RuntimeException;

final class CommandsTest extends TestCase
{
    public function test_post_reads_its_arguments_as_json_where_they_are(): void
    {
        Celery::fake();

        [$code, $output] = $this->command('celery:post', [
            'task' => 'proj.echo', 'args' => ['2', 'text', '{"x":[1]}', 'true', '"7"'], '--queue' => 'ml', '--id' => 'the-id',
        ]);

        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString('Posted [the-id]', $output);
        Celery::assertPostedOn('ml', 'proj.echo', function (PostedTask $task): bool {
            $this->assertEquals([2, 'text', (object) ['x' => [1]], true, '7'], $task->args);

            return true;
        });
    }

    public function test_post_takes_keyword_arguments_delay_and_connection(): void
    {
        config(['celery.connections.second' => ['host' => 's']]);
        Celery::fake();

        [$code] = $this->command('celery:post', [
            'task' => 'a', '--kwargs' => '{"x": 2}', '--delay' => '60', '--connection' => 'second',
        ]);

        $this->assertSame(0, $code);
        Celery::assertPosted('a', fn (PostedTask $task): bool => $task->args === ['x' => 2]
            && isset($task->fields['eta']) && $task->connection === 'second');
    }

    public function test_post_can_wait_and_answer_in_json(): void
    {
        Celery::fake(['add' => 5, 'boom' => new DomainException('no such row')]);

        [$code, $output] = $this->command('celery:post', ['task' => 'add', '--wait' => '5', '--json' => true]);
        $this->assertSame(0, $code);
        $answer = json_decode($output, true);
        $this->assertSame(['SUCCESS', 5], [$answer['status'], $answer['result']]);

        [$code, $output] = $this->command('celery:post', ['task' => 'boom', '--wait' => '5']);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('DomainException: no such row', $output);

        [$code, $output] = $this->command('celery:post', ['task' => 'slow', '--wait' => '5', '--json' => true]);
        $this->assertSame(2, $code);
        $this->assertSame('PENDING', json_decode($output, true)['status']);
    }

    public function test_post_refuses_what_it_cannot_read(): void
    {
        Celery::fake();

        foreach ([['--kwargs' => '[1]'], ['--kwargs' => 'x'], ['--kwargs' => '{"x":1}', 'args' => ['1']], ['--delay' => 'soon']] as $options) {
            [$code, $output] = $this->command('celery:post', ['task' => 'a'] + $options);
            $this->assertSame(1, $code, (string) json_encode($options));
            $this->assertNotSame('', trim($output));
        }

        Celery::assertNothingPosted();
    }

    public function test_post_says_so_when_it_fails(): void
    {
        Celery::fake()->failPosting(new RuntimeException('broker down'));

        [$code, $output] = $this->command('celery:post', ['task' => 'a']);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('broker down', $output);

        [$code, $output] = $this->command('celery:post', ['task' => 'a', '--json' => true]);
        $this->assertSame(1, $code);
        $this->assertSame(['error' => 'broker down'], json_decode($output, true));
    }

    public function test_result_shows_and_forgets(): void
    {
        Celery::fake(['add' => ['sum' => 5]]);
        $id = Celery::post('add')->id();

        [$code, $output] = $this->command('celery:result', ['id' => $id]);
        $this->assertSame(0, $code);
        $this->assertStringContainsString("{$id} SUCCESS", $output);
        $this->assertStringContainsString('"sum": 5', $output);

        [$code] = $this->command('celery:result', ['id' => $id, '--forget' => true, '--json' => true]);
        $this->assertSame(0, $code);
        [$code, $output] = $this->command('celery:result', ['id' => $id]);
        $this->assertSame(2, $code);
        $this->assertStringContainsString('PENDING', $output);
    }

    public function test_revoke(): void
    {
        $fake = Celery::fake();

        [$code, $output] = $this->command('celery:revoke', ['id' => ['one', 'two']]);

        $this->assertSame(0, $code);
        $this->assertStringContainsString('one, two', $output);
        $this->assertTrue($fake->isRevoked('one') && $fake->isRevoked('two'));
    }

    public function test_the_doctor_reports_every_connection_and_hides_secrets(): void
    {
        $this->needExtension();
        config(['celery.connections' => [
            // No server listens on port 1.
            'default' => ['url' => 'redis://user:s3cret@127.0.0.1:1/0', 'timeout' => 2],
            'broken' => ['redis' => 'nowhere'],
        ]]);

        [$code, $output] = $this->command('celery:doctor', ['--json' => true]);
        $report = json_decode($output, true);
        $checks = array_column($report['checks'], null, 'check');

        $this->assertSame(1, $code);
        $this->assertFalse($report['ok']);
        $this->assertSame(Extension::loaded(), $checks['extension']['ok']);
        $this->assertFalse($checks['default: broker']['ok']);
        $this->assertStringContainsString('redis://user:***@127.0.0.1:1/0', $checks['default: broker']['detail']);
        $this->assertStringContainsString('[nowhere]', $checks['broken: configuration']['detail']);
        $this->assertStringNotContainsString('s3cret', $output);

        [$code, $output] = $this->command('celery:doctor', ['--connection' => 'broken']);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('FAIL', $output);
        $this->assertStringNotContainsString('default: broker', $output);

        // Texts of other programs cannot control the terminal.
        config(['celery.connections.broken' => ['redis' => "evil\e[31m<error>x"]]);
        Celery::forgetConnections();
        [, $output] = $this->command('celery:doctor', ['--connection' => 'broken']);
        $this->assertStringContainsString('evil?[31m<error>x', $output);
    }

    public function test_about_has_a_section(): void
    {
        if (! class_exists(\Illuminate\Foundation\Console\AboutCommand::class)) {
            $this->markTestSkipped('this Laravel has no `about` command');
        }
        $this->needExtension();
        config(['celery.connections.default' => ['url' => 'redis://user:s3cret@127.0.0.1:1/0']]);

        [$code, $output] = $this->command('about', ['--only' => 'celery', '--json' => true]);

        $this->assertSame(0, $code);
        $this->assertStringContainsString('***@127.0.0.1:1', $output);
        $this->assertStringNotContainsString('s3cret', $output);
    }
}
