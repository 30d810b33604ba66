<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\CeleryServiceProvider;
use CeleryBridge\History\Minutes;
use CeleryBridge\History\Row;
use CeleryBridge\Pulse\CeleryTasks;
use CeleryBridge\Pulse\TaskCounts;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Support\Facades\View;
use Laravel\Pulse\Livewire\Card;
use Livewire\Attributes\Locked;
use ReflectionProperty;

/**
 * The card of Pulse. Pulse and Livewire are not here: in the last test, small classes and views stand for
 * them.
 */
final class PulseTest extends TestCase
{
    public function test_it_counts_the_tasks_of_the_last_hours(): void
    {
        $counts = $this->app->make(TaskCounts::class);
        $this->assertNull($counts->of(null, 1));

        $this->command('migrate', ['--force' => true]);
        $this->assertSame([], $counts->of(null, 1));
        $minute = intdiv(time(), 60);
        $this->noteRuns($minute - 5, 'mail', 3, 1);
        $this->noteRuns($minute - 5, 'video', 1, 0);
        $this->noteRuns($minute - 90, 'mail', 10, 0);

        $now = array_map(static fn (array $task): array => [$task['name'], $task['succeeded'], $task['failed'], $task['p95'] !== null], $counts->of(null, 1));
        $this->assertSame([['mail', 3, 1, true], ['video', 1, 0, true]], $now);
        $this->assertSame([13, 1], array_column($counts->of('default', 2), 'succeeded'));
        $this->assertSame([], $counts->of('other', 2));
    }

    public function test_without_pulse_nothing_of_it_is_there(): void
    {
        if (class_exists(Card::class)) {
            $this->markTestSkipped('Pulse, or what stands for it, is loaded');
        }

        $this->assertFalse(View::exists('celery-pulse::tasks'));
    }

    public function test_the_card_shows_the_tasks(): void
    {
        if (! class_exists(Card::class)) {
            require_once __DIR__.'/../fixtures/pulse/Card.php';
        }
        $components = [];
        $livewire = new class ($components) {
            /** @param  array<string, class-string>  $components */
            public function __construct(public array &$components)
            {
            }

            public function component(string $name, string $class): void
            {
                $this->components[$name] = $class;
            }
        };
        $this->app->instance('livewire', $livewire);
        (new CeleryServiceProvider($this->app))->boot();
        $this->app->make('livewire');
        $this->assertSame(['celery.tasks' => CeleryTasks::class], $livewire->components);
        $connection = new ReflectionProperty(CeleryTasks::class, 'connection');
        $this->assertCount(1, $connection->getAttributes(Locked::class), 'a browser could choose the connection');

        mkdir("{$this->sandbox->path}/pulse/components/icons", 0700, true);
        foreach (['card', 'card-header', 'scroll', 'table', 'thead', 'th', 'td', 'no-results', 'icons/queue-list'] as $name) {
            $this->sandbox->write("pulse/components/{$name}.blade.php", "<{$name} {{ \$attributes }}>{{ \$slot }}</{$name}>");
        }
        View::addNamespace('pulse', "{$this->sandbox->path}/pulse");

        $this->assertStringContainsString('celery:listen', $this->rendered('1_hour'));
        $this->command('migrate', ['--force' => true]);
        $this->assertStringContainsString('<no-results', $this->rendered('1_hour'));
        $this->noteRuns(intdiv(time(), 60) - 5, '<script>mail', 1_234, 56);
        $this->noteRuns(intdiv(time(), 60) - 3_000, 'weekly', 1, 0);

        $html = $this->rendered('1_hour');
        foreach (['&lt;script&gt;mail', '>1,234<', '>56<', 'past hour', 'name="Celery Tasks"'] as $text) {
            $this->assertStringContainsString($text, $html);
        }
        $this->assertStringNotContainsString('<script>mail', $html);
        $this->assertStringNotContainsString('weekly', $html);
        $this->assertStringContainsString('for 5 s', $html);
        $week = $this->rendered('7_days');
        foreach (['weekly', 'for 120 s'] as $text) {
            $this->assertStringContainsString($text, $week);
        }
    }

    private function rendered(string $period): string
    {
        $card = new CeleryTasks();
        $card->period = $period;

        return $card->render()->with(['cols' => null, 'rows' => null, 'class' => '', 'expand' => false])->render();
    }

    private function noteRuns(int $minute, string $task, int $succeeded, int $failed): void
    {
        static $number = 0;
        $row = new Row($minute, Row::TASK, $task);
        [$row->succeeded, $row->failed] = [$succeeded, $failed];
        $row->runtimes->add(0.25);
        $minutes = $this->app->make(Minutes::class);
        $owner = 'test'.++$number;
        $this->assertTrue($minutes->claim('default', $owner, 600.0));
        $this->assertTrue($minutes->write('default', $owner, 1, [$row]));
        $minutes->release('default', $owner);
    }
}
