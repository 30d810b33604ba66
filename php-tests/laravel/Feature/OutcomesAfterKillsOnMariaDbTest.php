<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryTests\Background;
use CeleryTests\Programs;

require_once __DIR__.'/OutcomesAfterKillsTest.php';

/**
 * The kills of the parent, with the tables on a private MariaDB.
 */
final class OutcomesAfterKillsOnMariaDbTest extends OutcomesAfterKillsTest
{
    private static ?Background $server = null;

    /** @var array<string, string> */
    private static array $connection;

    public static function setUpBeforeClass(): void
    {
        parent::setUpBeforeClass();
        foreach (['mariadbd', 'mariadb-install-db'] as $program) {
            if (trim((string) shell_exec("command -v {$program}")) === '') {
                self::markTestSkipped("{$program} is not installed");
            }
        }
        $show = 'echo "$DB_HOST $DB_PORT $DB_DATABASE $DB_USERNAME $DB_PASSWORD ready"; exec sleep infinity';
        self::$server = new Background([Programs::path('testkit'), 'up', 'mariadb', '--', 'sh', '-c', $show]);
        self::$server->waitForText(' ready', 120);
        preg_match('/^(.*) ready$/m', self::$server->log(), $line);
        $names = ['host', 'port', 'database', 'username', 'password'];
        self::$connection = array_combine($names, explode(' ', $line[1]));
    }

    public static function tearDownAfterClass(): void
    {
        self::$server?->stop(60);
        self::$server = null;
        parent::tearDownAfterClass();
    }

    protected function config(): array
    {
        return ['database' => [
            'default' => 'mysql',
            'connections' => ['mysql' => self::$connection + [
                'driver' => 'mysql', 'prefix' => '', 'charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci', 'strict' => true,
            ]],
            'migrations' => 'migrations',
        ]] + parent::config();
    }

    protected function prepareDatabase(): void
    {
    }
}
