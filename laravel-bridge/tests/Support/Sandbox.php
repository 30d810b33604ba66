<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Support;

use Illuminate\Contracts\Console\Kernel as ConsoleKernel;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Http\Kernel as HttpKernel;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Foundation\Application;

/**
 * A minimal Laravel application in its own folder: the framework's own kernels, seven
 * configuration files, and the bridge as Composer installs it (found by package discovery).
 */
final class Sandbox
{
    public readonly string $path;

    /**
     * @param  array<string, array<string, mixed>>  $config  files of config/, added to the plain
     * ones or replacing them
     * @param  string|null  $path  an existing sandbox, to boot its application again
     */
    public function __construct(array $config = [], ?string $path = null)
    {
        $this->path = $path ?? sys_get_temp_dir().'/celery-bridge-'.bin2hex(random_bytes(6));

        if ($path !== null) {
            return;
        }

        foreach ([
            'bootstrap/cache', 'config', 'database', 'resources/views', 'routes',
            'storage/framework/views', 'storage/framework/cache', 'storage/framework/sessions', 'storage/logs',
            'vendor/composer',
        ] as $folder) {
            mkdir("{$this->path}/{$folder}", 0700, true);
        }

        touch("{$this->path}/.env");
        touch("{$this->path}/database/database.sqlite");
        $this->write('composer.json', (string) json_encode(['autoload' => ['psr-4' => ['App\\' => 'app/']]]));
        $this->write('vendor/composer/installed.json', (string) json_encode(['packages' => [
            json_decode((string) file_get_contents(self::bridge('composer.json')), true),
        ]]));

        foreach ($config + self::plainConfig($this->path) as $name => $values) {
            $this->write("config/{$name}.php", '<?php return '.var_export($values, true).';');
        }
    }

    public function boot(): Application
    {
        $app = self::application($this->path);
        $app->make(ConsoleKernel::class)->bootstrap();

        return $app;
    }

    public static function application(string $path): Application
    {
        $app = new Application($path);
        $app->singleton(HttpKernel::class, \Illuminate\Foundation\Http\Kernel::class);
        $app->singleton(ConsoleKernel::class, \Illuminate\Foundation\Console\Kernel::class);
        $app->singleton(ExceptionHandler::class, \Illuminate\Foundation\Exceptions\Handler::class);

        // Since Laravel 11 the framework has default configuration files for the missing ones.
        // Debian's package does not contain them.
        if (method_exists($app, 'dontMergeFrameworkConfiguration')) {
            $app->dontMergeFrameworkConfiguration();
        }

        return $app;
    }

    public function write(string $file, string $text): void
    {
        file_put_contents("{$this->path}/{$file}", $text);
    }

    public function remove(): void
    {
        (new Filesystem())->deleteDirectory($this->path);
    }

    public static function bridge(string $file): string
    {
        return dirname(__DIR__, 2)."/{$file}";
    }

    /**
     * @return array<string, array<string, mixed>>
     */
    private static function plainConfig(string $path): array
    {
        return [
            'app' => [
                'name' => 'Sandbox',
                'env' => 'testing',
                'debug' => true,
                'key' => 'base64:'.base64_encode(str_repeat('k', 32)),
                'cipher' => 'AES-256-CBC',
                'timezone' => 'UTC',
                'locale' => 'en',
                'fallback_locale' => 'en',
                'providers' => self::providers(),
                'aliases' => [],
            ],
            'database' => [
                'default' => 'sqlite',
                'connections' => [
                    'sqlite' => ['driver' => 'sqlite', 'database' => "{$path}/database/database.sqlite", 'prefix' => ''],
                ],
                'migrations' => 'migrations',
                'redis' => ['client' => 'phpredis', 'options' => ['prefix' => 'sandbox_']],
            ],
            'queue' => [
                'default' => 'sync',
                'connections' => [
                    'sync' => ['driver' => 'sync'],
                    'database' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90],
                    'celery' => ['driver' => 'celery'],
                ],
                'failed' => ['driver' => 'null'],
            ],
            'cache' => ['default' => 'array', 'stores' => ['array' => ['driver' => 'array']], 'prefix' => 'sandbox'],
            'view' => ['paths' => ["{$path}/resources/views"], 'compiled' => "{$path}/storage/framework/views"],
            'logging' => ['default' => 'null', 'channels' => [
                'null' => ['driver' => 'monolog', 'handler' => \Monolog\Handler\NullHandler::class],
            ]],
            'session' => ['driver' => 'array', 'lifetime' => 120, 'cookie' => 'sandbox'],
            // Since Laravel 10, the default providers include the one that asks for the user.
            'auth' => [
                'defaults' => ['guard' => 'web'],
                'guards' => ['web' => ['driver' => 'session', 'provider' => 'users']],
                'providers' => ['users' => ['driver' => 'database', 'table' => 'users']],
            ],
        ];
    }

    /**
     * @return list<class-string>
     */
    private static function providers(): array
    {
        if (class_exists(\Illuminate\Support\DefaultProviders::class)) {
            return (new \Illuminate\Support\DefaultProviders())->toArray();
        }

        return [
            \Illuminate\Bus\BusServiceProvider::class,
            \Illuminate\Cache\CacheServiceProvider::class,
            \Illuminate\Foundation\Providers\ConsoleSupportServiceProvider::class,
            \Illuminate\Cookie\CookieServiceProvider::class,
            \Illuminate\Database\DatabaseServiceProvider::class,
            \Illuminate\Encryption\EncryptionServiceProvider::class,
            \Illuminate\Filesystem\FilesystemServiceProvider::class,
            \Illuminate\Foundation\Providers\FoundationServiceProvider::class,
            \Illuminate\Pipeline\PipelineServiceProvider::class,
            \Illuminate\Queue\QueueServiceProvider::class,
            \Illuminate\Redis\RedisServiceProvider::class,
            \Illuminate\Session\SessionServiceProvider::class,
            \Illuminate\Translation\TranslationServiceProvider::class,
            \Illuminate\Validation\ValidationServiceProvider::class,
            \Illuminate\View\ViewServiceProvider::class,
        ];
    }
}
