<?php

namespace CeleryTests;

/**
 * The programs under test, and Python Celery.
 */
final class Programs
{
    public const PYTHONS = ['5.7', '5.4', '5.2'];

    public static function root(): string
    {
        return dirname(__DIR__, 2);
    }

    /**
     * Starts the shipped worker on database $db of the private Redis and waits until it is ready.
     */
    public static function worker(array $options = [], int $db = 0): Background
    {
        return self::startWorker('celery-worker', $options, $db);
    }

    /**
     * Starts the example worker with the tasks `proj.*`.
     */
    public static function playground(array $options = [], int $db = 0): Background
    {
        return self::startWorker('examples/playground', $options, $db);
    }

    /**
     * Starts the example worker like {@see playground()}, on a queue of the private RabbitMQ, with its
     * results in $backend: a URL, or a database of the private Redis.
     */
    public static function playgroundOnRabbitMq(string $queue, int|string $backend, array $options = []): Background
    {
        $program = self::path('examples/playground');
        $url = is_int($backend) ? self::redisUrl($backend) : $backend;
        $settings = ['--config', __DIR__ . '/rabbitmq.toml', '--result-backend', $url];
        $worker = new Background([$program, '-b', getenv('AMQP_URL'), ...$settings, '-Q', $queue, '-l', 'info', ...$options]);
        $worker->waitForText(' ready.', 30);

        return $worker;
    }

    /**
     * Starts a worker of the example's page /work, as `make demo` does. The page knows it by $name.
     */
    public static function workPage(string $name, array $options = []): Background
    {
        $program = self::path('examples/work_page');
        $options = ['-Q', 'work', '--result-extended', '--lease', '5s', ...self::named($name), ...$options];
        $worker = new Background([$program, '-b', self::redisUrl(), '-l', 'info', ...$options]);
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /**
     * Starts the example's Python worker.
     */
    public static function pythonWorkPage(string $name): Background
    {
        $worker = new Background(
            [self::python('5.7'), '-m', 'celery', '-A', 'worker', 'worker', '-l', 'info', '-P', 'threads', '-c', '4', '-Q', 'work', ...self::named($name)],
            ['CELERY_BROKER_URL' => self::redisUrl(), 'PYTHONDONTWRITEBYTECODE' => '1', 'PYTHONUNBUFFERED' => '1'],
            self::root() . '/examples/laravel-tasks/python'
        );
        $worker->waitForText(' ready.', 120);

        return $worker;
    }

    /**
     * @return list<string>
     */
    private static function named(string $name): array
    {
        return ['-n', "$name@demo", '--pidfile=' . getenv('DEMO_WORKERS') . "/$name.pid"];
    }

    /**
     * Starts a Python worker with the tasks `proj.*` and waits until it is ready.
     */
    public static function pythonWorker(string $version, int $db = 0, array $transportOptions = [], array $options = []): Background
    {
        $worker = new Background(
            [self::python($version), '-m', 'celery', '-A', 'proj', 'worker', '-l', 'info', '-P', 'threads', '-c', '4', ...$options],
            self::pythonEnvironment($db, $transportOptions),
            self::root() . '/php-tests/interop/python'
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /**
     * Starts a Python worker like {@see pythonWorker()}, on a queue of the private RabbitMQ. Its
     * results are in database $db of the private Redis, or in $backend.
     *
     * @param array<string, mixed> $settings Celery's
     */
    public static function pythonWorkerOnRabbitMq(string $version, string $queue, int $db, ?string $backend = null, array $settings = []): Background
    {
        $results = $backend === null ? [] : ['RESULT_BACKEND' => $backend];
        $worker = new Background(
            [self::python($version), '-m', 'celery', '-A', 'proj', 'worker', '-l', 'info', '-P', 'threads', '-c', '4', '-Q', $queue, '-n', "$queue@%h"],
            ['BROKER_URL' => getenv('AMQP_URL')] + $results + self::pythonEnvironment($db, [], $settings),
            self::root() . '/php-tests/interop/python'
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /**
     * Starts a Python worker like {@see pythonWorker()}, pointed at the owner of the slot `{celery}:` in the
     * private cluster.
     *
     * @param list<string> $options
     */
    public static function pythonWorkerInCluster(array $options): Background
    {
        $worker = new Background(
            [self::python('5.7'), '-m', 'celery', '-A', 'proj', 'worker', '-l', 'info', '-P', 'threads', '-c', '4', ...$options],
            self::clusterEnvironment(),
            self::root() . '/php-tests/interop/python'
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /**
     * Starts the example worker on the private cluster.
     *
     * @param list<string> $options
     */
    public static function playgroundInCluster(array $options): Background
    {
        $worker = new Background([self::path('examples/playground'), '-b', getenv('CLUSTER_URL'), '-l', 'info', ...$options]);
        $worker->waitForText(' ready.', 30);

        return $worker;
    }

    /**
     * Returns the variables like {@see pythonEnvironment()}, for the owner of the slot `{celery}:` in the private
     * cluster.
     *
     * @return array<string, string>
     */
    public static function clusterEnvironment(): array
    {
        $owner = explode(' ', getenv('CLUSTER_PORTS'))[0];

        return ['REDIS_URL' => "redis://127.0.0.1:$owner/0"] + self::pythonEnvironment(0, ['global_keyprefix' => '{celery}:']);
    }

    /**
     * Returns the variables that the modules in php-tests/interop/python need.
     *
     * @param array<string, mixed> $transportOptions Celery's broker_transport_options
     * @param array<string, mixed> $settings other settings of Celery
     * @return array<string, string>
     */
    public static function pythonEnvironment(int $db, array $transportOptions = [], array $settings = []): array
    {
        return [
            'REDIS_URL' => self::redisUrl($db),
            'TRANSPORT_OPTIONS' => json_encode((object) $transportOptions),
            'SETTINGS' => json_encode((object) $settings),
            'PYTHONDONTWRITEBYTECODE' => '1',
            'PYTHONUNBUFFERED' => '1',
        ];
    }

    public static function python(string $version): string
    {
        return self::existing(self::root() . "/.venv/celery-$version/bin/python", 'make setup');
    }

    public static function redisUrl(int $db = 0): string
    {
        return 'redis://' . getenv('REDIS_HOST') . ':' . getenv('REDIS_PORT') . "/$db";
    }

    /**
     * Connects without the extension, to check what it did.
     */
    public static function redis(int $db = 0): \Redis
    {
        $redis = new \Redis();
        $redis->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
        $redis->select($db);

        return $redis;
    }

    public static function database(): \PDO
    {
        $address = sprintf('mysql:host=%s;port=%s;dbname=%s', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_DATABASE'));

        return new \PDO($address, getenv('DB_USERNAME'), getenv('DB_PASSWORD'));
    }

    /**
     * The path of a program that was built.
     */
    public static function path(string $name): string
    {
        $folder = getenv('CELERY_BIN') ?: self::root() . '/target/release';

        return self::existing("$folder/$name", 'make build');
    }

    private static function startWorker(string $name, array $options, int $db): Background
    {
        $program = self::path($name);
        $url = self::redisUrl($db);
        $worker = new Background([$program, '-b', $url, '--result-backend', $url, '-l', 'info', ...$options]);
        $worker->waitForText(' ready.', 30);

        return $worker;
    }

    private static function existing(string $path, string $remedy): string
    {
        if (!is_executable($path)) {
            throw new \RuntimeException("$path does not exist: run $remedy");
        }

        return $path;
    }
}
