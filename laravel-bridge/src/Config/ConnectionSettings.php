<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use CeleryBridge\Exceptions\InvalidConfiguration;
use Illuminate\Contracts\Config\Repository;
use SensitiveParameter;

/**
 * The settings of one connection of config/celery.php, read and checked. A plain value without a
 * connection.
 */
final class ConnectionSettings
{
    /**
     * @param  Endpoint|null  $resultBackend  null: that of php.ini, otherwise the broker; on a RabbitMQ
     * results are replies then, as with Celery's `rpc://`
     */
    private function __construct(
        public readonly string $name,
        public readonly Endpoint $broker,
        public readonly ?Endpoint $resultBackend,
        public readonly string $queue,
        public readonly ?float $timeout,
        public readonly bool $afterCommit,
    ) {
    }

    /**
     * Returns true if only the request that posts a task can read its result: results are replies over
     * RabbitMQ, in a queue of the process.
     */
    public function hasOwnResultsOnly(): bool
    {
        return $this->broker->isRabbitMq() && $this->resultBackend === null
            && (string) ini_get('celery.result_backend') === '' && ini_get('celery.reply_queue') !== 'task';
    }

    /** Returns where results are, for people. */
    public function displayResults(): string
    {
        return $this->resultBackend?->display() ?? ($this->broker->isRabbitMq() ? 'replies over the broker' : 'the broker');
    }

    public static function fromRepository(Repository $config, ?string $name = null): self
    {
        $name ??= self::defaultName($config);
        $all = (array) $config->get('celery', []);
        $problem = KnownKeys::problemOfFile($all);
        if ($problem !== null) {
            throw InvalidConfiguration::ofFile($problem);
        }

        $connections = (array) ($all['connections'] ?? []);
        if (FlatConfig::isFlat($all)) {
            $connections += ['default' => array_diff_key($all, array_flip(KnownKeys::FILE))];
        }

        if (! is_array($connections[$name] ?? null)) {
            $shown = static fn (int|string $name): string => ValueTypes::isUrl($name) ? '**' : (string) $name;

            throw InvalidConfiguration::in($name, sprintf(
                'it is not configured; config/celery.php has: %s',
                implode(', ', array_map($shown, array_keys($connections))) ?: 'none',
            ));
        }

        return self::fromArray($name, $connections[$name], (array) $config->get('database.redis', []));
    }

    public static function defaultName(Repository $config): string
    {
        return (string) ($config->get('celery.default') ?: 'default');
    }

    /**
     * @param  array<string, mixed>  $config
     * @param  array<string, mixed>  $redis  Laravel's database.redis
     */
    public static function fromArray(
        string $name,
        #[SensitiveParameter] array $config,
        #[SensitiveParameter] array $redis = [],
    ): self {
        $problem = KnownKeys::problemOfConnection($config) ?? ValueTypes::problem($config);
        if ($problem !== null) {
            throw InvalidConfiguration::in($name, $problem);
        }

        $backend = $config['result_backend'] ?? null;
        $isRpc = is_string($backend) && preg_match('~^rpc(://.*)?$~iD', $backend) === 1;
        $backend = $isRpc ? null : $backend;
        if (is_string($backend) && $backend !== '' || is_array($backend) && $backend !== [] && array_is_list($backend)) {
            $backend = ['url' => $backend];
        }
        if (! is_array($backend) && ! in_array($backend, [null, false, ''], true)) {
            throw InvalidConfiguration::in($name, sprintf(
                '"result_backend" must be a URL or an array, %s given',
                get_debug_type($backend),
            ));
        }
        $problem = is_array($backend) ? KnownKeys::problemOfResultBackend($backend) : null;
        if ($problem !== null) {
            throw InvalidConfiguration::in("{$name}.result_backend", $problem);
        }

        $timeout = $config['timeout'] ?? null;
        if ($timeout !== null && $timeout !== '' && (! is_numeric($timeout) || $timeout <= 0)) {
            throw InvalidConfiguration::in($name, 'timeout must be a number of seconds above 0');
        }

        $broker = self::endpoint($name, $config, $redis);
        if ($isRpc && ! $broker->isRabbitMq()) {
            throw InvalidConfiguration::in($name, '"result_backend" rpc:// means replies over RabbitMQ, and the broker is a Redis, '
                .'which keeps results itself');
        }

        return new self(
            $name,
            $broker,
            is_array($backend) && $backend !== [] ? self::endpoint("{$name}.result_backend", $backend, $redis) : null,
            (string) (($config['queue'] ?? null) ?: ($config['exchange'] ?? null) ?: 'celery'),
            is_numeric($timeout) ? (float) $timeout : null,
            filter_var($config['after_commit'] ?? true, FILTER_VALIDATE_BOOL),
        );
    }

    /**
     * @param  array<string, mixed>  $config
     * @param  array<string, mixed>  $redis
     */
    private static function endpoint(
        string $name,
        #[SensitiveParameter] array $config,
        #[SensitiveParameter] array $redis,
    ): Endpoint {
        $reference = $config['redis'] ?? null;

        if (! empty($config['url']) || $reference === null || $reference === '') {
            return Endpoint::fromArray($name, $config);
        }

        unset($redis['options'], $redis['clusters']);
        if (! is_string($reference) || ! is_array($redis[$reference] ?? null)) {
            // An address that was written here by mistake may have a login.
            $said = match (true) {
                ! is_string($reference) => get_debug_type($reference),
                strpbrk($reference, '@:') !== false => '**',
                default => $reference,
            };

            throw InvalidConfiguration::in($name, "config/database.php has no redis connection [{$said}]");
        }

        $priorities = array_intersect_key($config, ['priority_steps' => 0, 'sep' => 0]);

        return Endpoint::fromArray($name, $redis[$reference] + $priorities);
    }
}
