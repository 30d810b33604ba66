<?php

declare(strict_types=1);

namespace CeleryParity;

use PHPUnit\Framework\TestCase;

/**
 * With the composer package still installed, the extension's classes win and no error occurs.
 *
 * An autoloader before all others does what Composer's does: it includes the file that a class is
 * mapped to. If the extension lacked a class, the file would be loaded and PHP would end with
 * "Cannot declare class".
 */
final class CoexistenceTest extends TestCase
{
    /** The classes in celery-php 2's class map, all in one file. */
    private const MAPPED = ['CeleryAbstract', 'Celery', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException', 'CeleryPublishException'];

    private const NAMESPACED = __DIR__ . '/fixtures/stand-in/namespaced';

    /** @var list<string> files loaded by the autoloader under test */
    private array $loaded = [];

    /** @var ?callable */
    private $autoloader = null;

    protected function tearDown(): void
    {
        if ($this->autoloader !== null) {
            spl_autoload_unregister($this->autoloader);
        }
    }

    public function test_a_class_map_as_of_celery_php_2(): void
    {
        $this->autoload(fn (string $class) => in_array($class, self::MAPPED, true) ? __DIR__ . '/fixtures/stand-in/celery.php' : null);
        $this->assertExtensionWins();
    }

    public function test_a_psr_4_folder_as_of_celery_php_3(): void
    {
        $this->autoload($this->namespaced(...));
        $this->assertExtensionWins();
    }

    public function test_the_real_package(): void
    {
        $folder = getenv('CELERY_PHP_DIR');
        if ($folder === false || $folder === '') {
            self::markTestSkipped('CELERY_PHP_DIR does not name a folder with celery-php');
        }
        self::assertFileExists("$folder/celery.php");
        $this->autoload(fn (string $class) => in_array($class, self::MAPPED, true) ? "$folder/celery.php" : null);
        $this->assertExtensionWins();
    }

    public function test_classes_that_only_the_package_has_can_still_be_loaded(): void
    {
        $this->autoload($this->namespaced(...));
        try {
            (new \Celery\RedisConnector())->connect();
            self::fail('the stand-in throws');
        } catch (\CeleryException $caught) {
            self::assertTrue((new \ReflectionClass($caught))->isInternal());
        }
        self::assertSame(['RedisConnector.php', 'AbstractAMQPConnector.php'], $this->loaded);
    }

    private function assertExtensionWins(): void
    {
        // Uses the classes as an application would, before the test asks for them one by one.
        $sender = new class('127.0.0.1', null, null, 0, 'celery', 'celery', 6379, 'redis') extends \Celery {
            public function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $task_args = [])
            {
                throw new \CeleryPublishException($task);
            }
        };
        try {
            $sender->PostTask('proj.add', []);
            self::fail('the override throws');
        } catch (\CeleryException $caught) {
            self::assertSame('proj.add', $caught->getMessage());
        }
        $names = [...self::MAPPED, 'CeleryConnectionException'];
        foreach ([...$names, ...array_map(fn (string $name) => "Celery\\$name", $names)] as $name) {
            self::assertTrue(class_exists($name), $name);
            self::assertTrue((new \ReflectionClass($name))->isInternal(), $name);
        }
        self::assertSame([], $this->loaded);
    }

    private function namespaced(string $class): ?string
    {
        $file = self::NAMESPACED . '/' . str_replace('\\', '/', substr($class, strlen('Celery\\'))) . '.php';

        return str_starts_with($class, 'Celery\\') && is_file($file) ? $file : null;
    }

    /** @param callable(string): ?string $find */
    private function autoload(callable $find): void
    {
        $this->autoloader = function (string $class) use ($find): void {
            $file = $find($class);
            if ($file !== null) {
                $this->loaded[] = basename($file);
                include $file;
            }
        };
        spl_autoload_register($this->autoloader, true, true);
    }
}
