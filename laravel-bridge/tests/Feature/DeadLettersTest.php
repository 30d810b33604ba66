<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Tests\Support\WithDashboard;
use Illuminate\Testing\TestResponse;

/**
 * Dead letters on the dashboard, in `celery:dead` and in `celery:doctor`.
 */
final class DeadLettersTest extends TestCase
{
    use WithDashboard;

    private const MARKUP = '<script>alert("x")</script>';

    public function test_the_page_lists_the_newest_first_in_pages(): void
    {
        $this->getJson('/celery/dead')->assertOk()->assertJson(['total' => 0, 'letters' => [], 'older' => null]);
        for ($letter = 1; $letter <= 51; $letter++) {
            $this->add("{$letter}-0");
        }
        $this->app->make('cache')->flush();

        $first = $this->getJson('/celery/dead')->json();
        $this->assertSame([51, '51-0', '2-0', '2-0'], [$first['total'], $first['letters'][0]['place'], $first['letters'][49]['place'], $first['older']]);
        $second = $this->getJson('/celery/dead?before=2-0')->json();
        $this->assertSame(['1-0'], array_column($second['letters'], 'place'));
        $this->assertNull($second['older']);
        $this->get('/celery/dead')->assertSee('51 dead letters')->assertSee('id="older"', false);
        $this->get('/celery/dead?before=2-0')->assertSee('id="newest"', false);
        foreach (['all', '5', '5-0)', '%2B', '99999999999999999999-0'] as $place) {
            $this->get("/celery/dead?before={$place}")->assertStatus(404);
            $this->get('/celery/dead/'.rawurlencode($place))->assertStatus(404);
        }
        $this->get('/celery/dead/7-1')->assertStatus(404);
        // An open page says that another user has put the letter back.
        $this->get('/celery/dead/7-1?fragment=1')->assertOk()->assertSee('was put back');
    }

    public function test_names_and_arguments_are_shown_as_text(): void
    {
        $this->add('1-0', [self::MARKUP], task: self::MARKUP);
        foreach (['/celery/dead', '/celery/dead/1-0', '/celery/dead?fragment=1', '/celery/dead/1-0?fragment=1'] as $address) {
            $html = (string) $this->get($address)->assertOk()->getContent();
            $this->assertStringContainsString('&lt;script&gt;alert(', $html, $address);
            $this->assertStringNotContainsString('<script>alert', $html, $address);
        }
        $this->get('/celery/dead/1-0')->assertSee('not-registered')->assertSee('worker@host')->assertSee('1970-01-01 00:00:00');
    }

    public function test_arguments_that_the_sender_hides_stay_hidden(): void
    {
        $this->add('1-0', ['s3cret'], headers: ['argsrepr' => "('***',)"]);

        $page = $this->get('/celery/dead/1-0')->assertSee('***');
        $this->assertStringNotContainsString('s3cret', (string) $page->getContent());
    }

    public function test_one_letter_and_a_selection_are_put_back(): void
    {
        foreach (['1-0', '2-0', '3-0', '4-0'] as $place) {
            $this->add($place, [$place]);
        }
        $this->get('/celery/dead')->assertSee('4 dead letters');
        $this->replay([])->assertStatus(422);
        $this->replay(['1-0'])->assertOk()->assertJson(['ok' => true, 'message' => '1 message was put back into its queue.']);
        $this->replay(['3-0', '4-0', '3-0'])->assertOk()->assertJson(['message' => '2 messages were put back into their queues.']);

        $this->assertSame([['1-0'], ['3-0'], ['4-0']], array_column($this->broker->messages('celery'), 'args'));
        $this->assertSame(['2-0'], array_column($this->getJson('/celery/dead')->json()['letters'], 'place'));

        $this->replay(['1-0'])->assertStatus(409)->assertJson(['ok' => false]);
        $both = $this->replay(['1-0', '2-0'])->assertStatus(409);
        $this->assertSame('1 message was put back into its queue. 1 had been put back or deleted before.', $both->json()['message']);
        $this->replay(['1-0', 'all'])->assertStatus(422);
        $this->replay(array_map(static fn (int $letter): string => "{$letter}-0", range(1, 101)))->assertStatus(422);
        $this->post('/celery/dead/replay', ['_token' => $this->token(), 'places' => ['1-0']])
            ->assertRedirect(route('celery.dead', ['connection' => 'default']));
    }

    public function test_the_message_of_an_action_is_shown_by_the_next_whole_page(): void
    {
        $this->post('/celery/dead/replay', ['_token' => $this->token()])->assertRedirect();
        $this->get('/celery/dead?fragment=1')->assertOk()->assertDontSee('is selected');
        $this->get('/celery/dead')->assertSee('No dead letter is selected.');
        $this->get('/celery/dead')->assertDontSee('is selected');
    }

    public function test_a_letter_that_cannot_be_put_back_stays(): void
    {
        $this->add('1-0', cause: 'follow-up');
        $answer = $this->replay(['1-0'])->assertStatus(502);

        $this->assertStringContainsString('it is the signature of a task', $answer->json()['message']);
        $this->assertSame(1, $this->broker->redis()->xLen('celery.dead'));
    }

    public function test_the_overview_says_that_there_are_dead_letters(): void
    {
        $this->get('/celery')->assertOk()->assertDontSee('id="dead"', false);
        $this->app->make('cache')->flush();
        $this->add('1-0');

        $this->get('/celery')->assertOk()->assertSee('1 dead letter');
    }

    public function test_the_pages_say_that_the_broker_is_down(): void
    {
        config(['celery.connections.default.url' => 'redis://:s3cret@127.0.0.1:1', 'celery.connections.default.timeout' => 0.2]);
        foreach (['/celery/dead', '/celery/dead/1-0'] as $address) {
            $page = $this->get($address)->assertOk()->assertSee('cannot be read');
            $this->assertStringNotContainsString('s3cret', (string) $page->getContent());
        }
        $answer = $this->replay(['1-0', '2-0'])->assertStatus(502);
        $this->assertStringContainsString('2 could not be put back', $answer->json()['message']);
        $this->assertStringNotContainsString('s3cret', (string) $answer->getContent());
    }

    public function test_the_command_lists_and_puts_back(): void
    {
        [$code, $output] = $this->command('celery:dead');
        $this->assertSame(0, $code);
        $this->assertStringContainsString('No dead letters', $output);
        $this->add('1-0', ['a'], task: "evil\e[31m<error>");
        $this->add('2-0', ['b']);

        [$code, $table] = $this->command('celery:dead');
        $this->assertSame(0, $code);
        $this->assertStringContainsString('evil?[31m<error>', $table);
        $this->assertMatchesRegularExpression('/2-0.*proj\.add.*not-registered.*1970-01-01/', $table);
        $json = json_decode($this->line('celery:dead', ['--json' => true, '--limit' => '1']), true);
        $this->assertSame([2, ['2-0']], [$json['total'], array_column($json['letters'], 'place')]);

        [$code, $output] = $this->command('celery:dead', ['--replay' => ['2-0']]);
        $this->assertSame(0, $code, $output);
        $this->assertSame([['b']], array_column($this->broker->messages('celery'), 'args'));
        [$code, $output] = $this->command('celery:dead', ['--replay' => ['2-0', '1-0'], '--json' => true]);
        $this->assertSame(1, $code);
        $this->assertSame(['replayed' => ['1-0'], 'gone' => ['2-0'], 'refused' => []], json_decode($output, true));
        foreach ([['--replay' => ['all']], ['--limit' => '0'], ['--limit' => 'x'], ['--limit' => '1001']] as $wrong) {
            $this->assertSame(1, $this->command('celery:dead', $wrong)[0]);
        }
    }

    public function test_the_doctor_counts_dead_letters(): void
    {
        $this->assertSame(['ok' => true, 'detail' => 'none'], $this->check());
        $this->add('1-0');
        $this->add('2-0');
        $this->assertSame(['ok' => true, 'detail' => '2; `php artisan celery:dead` lists them'], $this->check());
    }

    /** @return array{ok: bool, detail: string} */
    private function check(): array
    {
        $checks = json_decode($this->line('celery:doctor', ['--json' => true]), true)['checks'];
        $check = array_column($checks, null, 'check')['default: dead letters'];

        return ['ok' => $check['ok'], 'detail' => $check['detail']];
    }

    /** @param  array<string, mixed>  $parameters */
    private function line(string $command, array $parameters = []): string
    {
        return trim($this->command($command, $parameters)[1]);
    }

    /**
     * Adds a dead letter as a Rust worker does.
     *
     * @param  list<mixed>  $args
     * @param  array<string, mixed>  $headers
     */
    private function add(string $place, array $args = [], string $task = 'proj.add', string $cause = 'not-registered', array $headers = []): void
    {
        $message = json_encode([
            'body' => base64_encode((string) json_encode([$args, (object) [], (object) []])),
            'content-type' => 'application/json', 'content-encoding' => 'utf-8',
            'headers' => $headers + ['task' => 'proj.add', 'id' => "id-{$place}"],
            'properties' => ['body_encoding' => 'base64', 'delivery_tag' => "tag-{$place}", 'delivery_info' => ['exchange' => '', 'routing_key' => 'celery']],
        ]);
        $this->broker->redis()->xAdd('celery.dead', $place, [
            'queue' => 'celery', 'id' => "id-{$place}", 'task' => $task, 'cause' => $cause, 'worker' => 'worker@host', 'time' => '5', 'raw' => $message,
        ]);
    }

    /** @param  list<string>  $places */
    private function replay(array $places): TestResponse
    {
        return $this->postJson('/celery/dead/replay', ['_token' => $this->token()] + ($places === [] ? [] : ['places' => $places]));
    }
}
