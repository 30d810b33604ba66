<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Support;

use CeleryBridge\Transport\Extension;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Foundation\Http\Middleware\VerifyCsrfToken;
use Illuminate\Foundation\Testing\TestCase as LaravelTestCase;
use Illuminate\Session\Middleware\StartSession;
use Illuminate\Support\Facades\Schema;

/**
 * A test in its own application.
 */
abstract class TestCase extends LaravelTestCase
{
    protected Sandbox $sandbox;

    public function createApplication()
    {
        $this->sandbox = new Sandbox($this->config());

        return $this->sandbox->boot();
    }

    /** @var array{mixed, mixed} PHPUnit's own handlers of errors and exceptions */
    private array $handlers;

    protected function setUp(): void
    {
        $this->handlers = self::handlers();
        parent::setUp();
    }

    protected function tearDown(): void
    {
        parent::tearDown();
        $this->sandbox->remove();

        // Older Laravels leave their handlers behind, one pair for each application; PHPUnit 11
        // calls that risky.
        for ($left = 20; $left > 0 && self::handlers()[0] !== $this->handlers[0]; $left--) {
            restore_error_handler();
        }
        for ($left = 20; $left > 0 && self::handlers()[1] !== $this->handlers[1]; $left--) {
            restore_exception_handler();
        }
    }

    /**
     * @return array{mixed, mixed}
     */
    private static function handlers(): array
    {
        $handlers = [set_error_handler(null), set_exception_handler(null)];
        restore_error_handler();
        restore_exception_handler();

        return $handlers;
    }

    /**
     * Returns configuration files for this test's application, added to the plain ones or replacing
     * them.
     *
     * @return array<string, array<string, mixed>>
     */
    protected function config(): array
    {
        return [];
    }

    /**
     * Returns the file `queue` of an application that keeps its failed jobs in a table.
     *
     * @param  string|null  $database  the connection of that table; null: the default one
     * @return array<string, mixed>
     */
    protected static function queueConfig(?string $database = 'sqlite'): array
    {
        return [
            'default' => 'sync',
            'connections' => ['sync' => ['driver' => 'sync'], 'celery' => ['driver' => 'celery']],
            'failed' => ['driver' => 'database-uuids', 'database' => $database, 'table' => 'failed_jobs'],
        ];
    }

    /**
     * Returns the files of an application whose dashboard is on.
     *
     * @return array<string, array<string, mixed>>
     */
    protected static function dashboardConfig(): array
    {
        return ['celery' => ['dashboard' => ['enabled' => true]], 'session' => self::sessionConfig('array')];
    }

    /**
     * @param  array<string, mixed>  $more  settings of the driver
     * @return array<string, mixed>
     */
    protected static function sessionConfig(string $driver, array $more = []): array
    {
        return $more + [
            'driver' => $driver, 'lifetime' => 120, 'expire_on_close' => false, 'lottery' => [0, 1], 'cookie' => 'sandbox',
            'path' => '/', 'domain' => null, 'secure' => false, 'http_only' => true, 'same_site' => 'lax',
        ];
    }

    /** Lets each visitor see the dashboard, with a session. */
    protected function openDashboard(): void
    {
        $this->app->make('router')->middlewareGroup('web', [StartSession::class, VerifyCsrfToken::class]);
        $this->app->instance('env', 'local');
    }

    /** Begins the session of the visitor; returns the token of its forms. */
    protected function token(): string
    {
        $session = $this->app->make('session')->driver();
        $session->start();

        return $session->token();
    }

    /**
     * Runs an Artisan command; returns its exit code and output.
     *
     * @param  array<string, mixed>  $parameters
     * @return array{int, string}
     */
    protected function command(string $command, array $parameters = []): array
    {
        $kernel = $this->app->make(Kernel::class);
        $code = $kernel->call($command, $parameters);

        return [$code, $kernel->output()];
    }

    protected function createTasksTable(): void
    {
        Schema::create('tasks', static function (Blueprint $table): void {
            $table->increments('id');
            $table->string('name');
            $table->string('status')->default('pending');
            $table->string('message')->nullable();
            $table->timestamps();
        });
    }

    /**
     * Creates the table of failed jobs as Laravel's migration does.
     */
    protected function createFailedJobsTable(): void
    {
        Schema::create('failed_jobs', static function (Blueprint $table): void {
            $table->id();
            $table->string('uuid')->unique();
            $table->text('connection');
            $table->text('queue');
            $table->longText('payload');
            $table->longText('exception');
            $table->timestamp('failed_at')->useCurrent();
        });
    }

    /**
     * Skips the test without the extension, which reads the URLs of servers.
     */
    protected function needExtension(): void
    {
        if (! Extension::loaded()) {
            $this->markTestSkipped('the extension is not loaded: run under `testkit up redis php --`');
        }
    }

    /**
     * Returns a private Redis, emptied; skips the test without one, or without the extension.
     */
    protected function broker(): Broker
    {
        $this->needExtension();
        $url = getenv('REDIS_URL');
        if (! is_string($url) || $url === '') {
            $this->markTestSkipped('REDIS_URL is not set: run under `testkit up redis --`');
        }

        $broker = new Broker($url);
        $broker->flush();

        return $broker;
    }
}
