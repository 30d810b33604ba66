<?php

namespace CeleryTests;

use Illuminate\Contracts\Console\Kernel;

/**
 * The example application in this process.
 */
final class Application
{
    public static function boot(): \Illuminate\Foundation\Application
    {
        $app = require Programs::root() . '/examples/laravel-tasks/bootstrap/app.php';
        $app->make(Kernel::class)->bootstrap();

        return $app;
    }

    /**
     * Returns an application with empty tables.
     */
    public static function fresh(): \Illuminate\Foundation\Application
    {
        $app = self::boot();
        $code = $app->make(Kernel::class)->call('migrate:fresh', ['--force' => true]);
        if ($code !== 0) {
            throw new \RuntimeException('migrate:fresh failed');
        }
        Programs::redis()->flushDB();

        return $app;
    }
}
