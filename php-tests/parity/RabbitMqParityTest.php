<?php

declare(strict_types=1);

namespace CeleryParity;

/** The cases on RabbitMQ, with each of celery-php's connectors. */
final class RabbitMqParityTest extends ParityTestCase
{
    protected const BROKER = 'rabbitmq';

    private static ?PrivateRabbitMq $rabbitmq = null;

    public static function setUpBeforeClass(): void
    {
        self::$rabbitmq = new PrivateRabbitMq();
    }

    public static function tearDownAfterClass(): void
    {
        self::$rabbitmq = null;
        parent::tearDownAfterClass();
    }

    protected static function lab(string $case): RabbitMqLab
    {
        return new RabbitMqLab(self::$rabbitmq, $case);
    }
}
