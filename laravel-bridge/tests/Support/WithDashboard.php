<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Support;

/**
 * A test of the dashboard with a private Redis, which each visitor may see.
 */
trait WithDashboard
{
    private Broker $broker;

    protected function config(): array
    {
        return self::dashboardConfig();
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.connections.default.url' => $this->broker->url]);
        $this->openDashboard();
    }
}
