<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\TestCase;
use Closure;
use Illuminate\Broadcasting\BroadcastEvent;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Mail\Events\MessageSent;
use Illuminate\Mail\Mailable;
use Illuminate\Mail\MailServiceProvider;
use Illuminate\Notifications\AnonymousNotifiable;
use Illuminate\Notifications\Notification;
use Illuminate\Notifications\NotificationServiceProvider;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Mail;
use Illuminate\Support\Facades\Notification as Notifications;
use Illuminate\Support\Facades\Queue;

/**
 * An application whose default queue connection is that of Celery: its tasks work, and Laravel's own
 * jobs are refused with the reason.
 */
final class DefaultConnectionTest extends TestCase
{
    protected function config(): array
    {
        return ['mail' => [
            'default' => 'array',
            'mailers' => ['array' => ['transport' => 'array']],
            'from' => ['address' => 'from@example.org', 'name' => 'From'],
            'markdown' => ['theme' => 'default', 'paths' => []],
        ]];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->app->register(MailServiceProvider::class);
        $this->app->register(NotificationServiceProvider::class);
        config(['queue.default' => 'celery']);
    }

    /**
     * @dataProvider ownJobs
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('ownJobs')] // PHPUnit 12 reads no comments.
    public function test_laravels_own_jobs_are_refused_with_the_way_out(Closure $queue, string $what): void
    {
        Celery::fake();

        try {
            $queue();
            $this->fail('it was queued');
        } catch (JobCannotRunOnCelery $e) {
            $this->assertStringContainsString("a job of Laravel's own for [{$what}", $e->getMessage());
            $this->assertStringContainsString('`queue.default`', $e->getMessage());
        }
        Celery::assertNothingPosted();
    }

    /**
     * @return iterable<string, array{Closure, string}>
     */
    public static function ownJobs(): iterable
    {
        yield 'mail' => [fn () => Mail::to('to@example.org')->queue(new Hello()), Hello::class];
        yield 'a notification' => [
            fn () => Notifications::send((new AnonymousNotifiable())->route('mail', 'to@example.org'), new News()), News::class,
        ];
        yield 'a listener' => [function (): void {
            Event::listen(Happened::class, Reacts::class);
            event(new Happened());
        }, Reacts::class];
        yield 'a broadcast' => [fn () => Queue::push(new BroadcastEvent(new Happened())), Happened::class];
        yield 'a closure' => [fn () => dispatch(fn () => 1), 'Closure'];
    }

    public function test_named_connections_of_php_workers_take_them(): void
    {
        config(['queue.connections.sync' => ['driver' => 'sync']]);
        Celery::fake();

        $sent = 0;
        Event::listen(MessageSent::class, function () use (&$sent): void {
            $sent++;
        });

        Mail::to('to@example.org')->queue((new Hello())->onConnection('sync'));

        $this->assertSame(1, $sent);
    }

    public function test_celery_tasks_need_no_name_of_a_connection(): void
    {
        Celery::fake();
        TaskCreated::dispatch(1);
        Celery::assertPosted(TaskCreated::class, 1);
    }
}

final class Hello extends Mailable
{
    use Queueable;

    public function build(): self
    {
        return $this->html('hello')->subject('hello');
    }
}

final class News extends Notification implements ShouldQueue
{
    use Queueable;

    /**
     * @return list<string>
     */
    public function via(object $notifiable): array
    {
        return ['mail'];
    }
}

final class Happened
{
}

final class Reacts implements ShouldQueue
{
    public function handle(Happened $event): void
    {
    }
}
