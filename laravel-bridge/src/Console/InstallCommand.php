<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Transport\Extension;
use Illuminate\Console\Command;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Contracts\Foundation\CachesConfiguration;
use Illuminate\Filesystem\Filesystem;

/**
 * Does the first steps in an application: the configuration file, and the address of the broker in
 * `.env`. It changes nothing that is there already.
 */
final class InstallCommand extends Command
{
    use SpeaksInComponents;

    private const VARIABLE = 'CELERY_BROKER_URL';

    /** @var string */
    protected $signature = 'celery:install
        {--url= : The URL of the broker; default: a Redis on this machine}';

    /** @var string */
    protected $description = 'Publish config/celery.php and write the address of the Celery broker into .env';

    public function handle(Application $app, Filesystem $files): int
    {
        if ($files->exists($app->configPath('celery.php'))) {
            $this->inform('config/celery.php is there already');
        } else {
            $code = $this->callSilently('vendor:publish', ['--tag' => 'celery-config']);
            if ($code !== self::SUCCESS || ! $files->exists($app->configPath('celery.php'))) {
                $this->complain("config/celery.php cannot be written: look at the rights of {$app->configPath()}");

                return self::FAILURE;
            }
            $this->inform('Wrote config/celery.php');
        }

        $url = (string) ($this->option('url') ?: 'redis://127.0.0.1:6379/0');
        $file = $app->environmentFilePath();
        $text = $files->exists($file) ? $files->get($file) : '';
        if (preg_match('/^\s*(?:export\s+)?'.self::VARIABLE.'\s*=/m', $text) === 1) {
            $this->inform(self::VARIABLE.' is in '.basename($file).' already');
        } else {
            $line = self::VARIABLE.'='.(preg_match('~^[\w:/.@%?=&,+\[\]-]+$~D', $url) === 1 ? $url : '"'.addcslashes($url, '"\\$').'"');
            $added = ($text === '' || str_ends_with($text, "\n") ? '' : "\n")."{$line}\n";
            if ($files->append($file, $added) !== strlen($added)) {
                $this->complain("{$file} cannot be written: look at its rights and at the free space");

                return self::FAILURE;
            }
            $this->inform('Wrote '.self::VARIABLE.' into '.basename($file));
        }

        $steps = array_filter([
            Extension::loaded() ? null : 'Install the PHP extension "celery": this PHP does not load it',
            $app instanceof CachesConfiguration && $app->configurationIsCached()
                ? 'php artisan config:clear: the configuration is cached' : null,
            'php artisan migrate: the tables with which celery:listen brings outcomes of jobs',
            'php artisan celery:doctor: checks the set-up, and says how to start a worker',
        ]);
        $this->line('Next:');
        foreach ($steps as $step) {
            $this->line("  - {$step}");
        }

        return self::SUCCESS;
    }
}
