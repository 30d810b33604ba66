<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Queue\ConfiguredQueues;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Http\Request;

/**
 * The connection that a request names with `connection`; without it, the default one.
 */
final class Chosen
{
    public function __construct(private readonly Factory $celery, private readonly Repository $config)
    {
    }

    public function settings(Request $request): ConnectionSettings
    {
        $name = $request->input('connection');
        abort_unless($name === null || in_array($name, $this->names(), true), 404);

        return $this->celery->settings($name);
    }

    /**
     * @return list<string>
     */
    public function names(): array
    {
        return ConfiguredQueues::connections($this->config);
    }
}
