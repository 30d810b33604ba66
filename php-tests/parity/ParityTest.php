<?php

declare(strict_types=1);

namespace CeleryParity;

/** The cases on Redis. */
final class ParityTest extends ParityTestCase
{
    protected const BROKER = 'redis';

    private static ?PrivateRedis $redis = null;

    public static function setUpBeforeClass(): void
    {
        self::$redis = PrivateRedis::start();
    }

    public static function tearDownAfterClass(): void
    {
        self::$redis = null;
        parent::tearDownAfterClass();
    }

    protected static function lab(string $case): Lab
    {
        return new Lab(self::$redis);
    }
}
