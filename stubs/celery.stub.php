<?php

/**
 * The classes of the extension `celery`, for IDEs and static analysis (PHPStan, Psalm). Never include this file.
 *
 * stubs/check.php compares it with the loaded extension.
 */

namespace {
    /** The parent of all exceptions of this extension. */
    class CeleryException extends \Exception
    {
    }

    /** A result was not available in time. Its code is 4. */
    class CeleryTimeoutException extends CeleryException
    {
    }

    /** A broker or result backend could not be reached, or rejected us. Nothing was sent. */
    class CeleryConnectionException extends CeleryException
    {
    }

    /** A task was not confirmed by the broker. */
    class CeleryPublishException extends CeleryException
    {
        /** @var bool */
        protected $outcomeUnknown = false;

        /** @var string|null */
        protected $taskId = null;

        /** @var list<string>|null */
        protected $taskIds = null;

        /**
         * Returns true if the task may have been queued nevertheless. It was written but no answer
         * came, or fewer replicas confirmed it than `celery.replicas` wants. Posting it again may
         * run it twice; with `celery.publish=once` the extension repeats such a post safely itself.
         */
        public function outcomeUnknown(): bool
        {
        }

        /** Returns the id of the task to be posted. */
        public function taskId(): ?string
        {
        }

        /**
         * Returns the ids of all tasks that were not confirmed, if several were posted.
         *
         * @return list<string>
         */
        public function taskIds(): array
        {
        }
    }

    /** The common parent of `Celery` and `CeleryAdvanced`. */
    abstract class CeleryAbstract
    {
        /**
         * Sets the broker, or the result backend, of this client. Connects to nothing.
         *
         * @param array{host?: ?string, login?: ?string, password?: ?string, vhost?: int|string|null, exchange?: ?string, binding?: ?string, port?: int|string|null, connector?: string|false|null, persistent_messages?: bool, result_expire?: int, ssl_options?: array<string, string|bool|null>|null} $connection_details
         * @param bool $is_backend true for the result backend
         * @return void
         * @throws CeleryException if the details cannot be used
         */
        public function BuildConnection(#[\SensitiveParameter] $connection_details, #[\SensitiveParameter] $is_backend = false)
        {
        }

        /**
         * Not supported: the extension has no PHP objects behind its connections.
         *
         * @param array<string, mixed> $details
         * @return never
         * @throws CeleryException always
         */
        public static function InitializeAMQPConnection(#[\SensitiveParameter] $details)
        {
        }

        /**
         * Posts a task and waits for the broker's answer, at most `celery.post_timeout` seconds.
         *
         * The queue is the routing key if it is not `'celery'`, else the exchange of the constructor.
         *
         * @param string $task the registered name of the task
         * @param array<array-key, mixed> $args a list is positional arguments, any other array keyword arguments
         * @param bool $async_result true to return an AsyncResult
         * @param string|null $routing_key the queue
         * @param array<string, mixed> $task_args fields of the message: id, eta, expires, countdown, retries, timelimit, priority, callbacks, errbacks, chain, chord, group, shadow, …; others become headers
         * @return ($async_result is false ? true : AsyncResult)
         * @throws CeleryPublishException if the broker did not confirm the task
         * @throws CeleryConnectionException if the broker could not be reached
         * @throws CeleryException if the task cannot be sent in this form
         */
        public function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $task_args = [])
        {
        }

        /**
         * Posts many tasks in one round trip, inside `celery.post_timeout`.
         *
         * @param iterable<array-key, array{0: string, 1: array<array-key, mixed>, 2?: array<string, mixed>}> $tasks each `[$task, $args]` or `[$task, $args, $task_args]`
         * @param bool $async_result true to return AsyncResults
         * @param string|null $routing_key the queue for all tasks
         * @param array<string, mixed> $task_args for all tasks; each task's own fields take
         * precedence
         * @return ($async_result is false ? true : array<array-key, AsyncResult>) with the keys of $tasks
         * @throws CeleryPublishException if the broker did not confirm all of them; taskIds() names
         * the others
         * @throws CeleryConnectionException if the broker could not be reached
         * @throws CeleryException if one of them cannot be sent in this form, with its key, name and place: `tasks[7] (proj.row): $args[1]`; then none was sent
         */
        public function PostTasks($tasks, $async_result = true, $routing_key = 'celery', $task_args = [])
        {
        }

        /**
         * Waits for the broker's answers to posts made with `celery.publish=pipelined`. At the end
         * of a request this happens by itself, with a warning instead of an exception.
         *
         * @throws CeleryPublishException if some were not confirmed; its taskIds() names them
         */
        public function flush(): void
        {
        }

        /**
         * Returns what is stored for a task at the moment, in any state.
         *
         * @param string|null $taskName not used
         * @param string $taskId
         * @param array<array-key, mixed>|null $args not used
         * @param bool $removeMessageFromQueue true to delete a final result
         * @return array{complete_result: array<string, mixed>, body: string}|false
         * @throws CeleryException
         */
        public function getAsyncResultMessage($taskName, $taskId, $args = null, $removeMessageFromQueue = true)
        {
        }
    }

    /** A client of one Redis, for tasks and results. */
    class Celery extends CeleryAbstract
    {
        /**
         * Does not connect yet: the first post does. A URL contains everything; without one,
         * $login, $password and $vhost must be passed (null if there is none).
         *
         * @param string|null $host a name, an address, /path/to/socket, or a whole URL; without one `celery.broker_url` counts
         * @param string|null $login empty: the password alone
         * @param string|null $password
         * @param int|string|null $vhost the number of the database
         * @param string|null $exchange the queue
         * @param string|null $binding no effect on Redis
         * @param int|string|null $port 5672, celery-php's default, means 6379 here
         * @param string|false|null $connector none, `'amqp'`, `'amqps'`, `'pecl'`, `'php-amqplib'` or `'php-amqplib-ssl'` for RabbitMQ; `'redis'`, or `'rediss'` for TLS
         * @param bool|null $persistent_messages no effect on Redis
         * @param int|null $result_expire no effect on Redis
         * @param array<string, string|bool|null>|null $ssl_options TLS, as in PHP's `ssl` stream context
         * @throws CeleryException if the arguments cannot be used
         * @throws ArgumentCountError if there are fewer than four and $host is not a URL
         */
        public function __construct(#[\SensitiveParameter] $host, #[\SensitiveParameter] $login = null, #[\SensitiveParameter] $password = null, #[\SensitiveParameter] $vhost = null, #[\SensitiveParameter] $exchange = 'celery', #[\SensitiveParameter] $binding = 'celery', #[\SensitiveParameter] $port = 5672, #[\SensitiveParameter] $connector = false, #[\SensitiveParameter] $persistent_messages = false, #[\SensitiveParameter] $result_expire = 0, #[\SensitiveParameter] $ssl_options = [])
        {
        }
    }

    /** A client whose results are stored elsewhere than its tasks. */
    class CeleryAdvanced extends CeleryAbstract
    {
        /**
         * @param array{host?: ?string, login?: ?string, password?: ?string, vhost?: int|string|null, exchange?: ?string, binding?: ?string, port?: int|string|null, connector?: string|false|null, persistent_messages?: bool, result_expire?: int, ssl_options?: array<string, string|bool|null>|null} $broker_connection
         * @param array{host?: ?string, login?: ?string, password?: ?string, vhost?: int|string|null, exchange?: ?string, binding?: ?string, port?: int|string|null, connector?: string|false|null, persistent_messages?: bool, result_expire?: int, ssl_options?: array<string, string|bool|null>|null}|false|null $backend_connection the same kind of array; empty: the broker
         * @throws CeleryException if the arrays cannot be used
         */
        public function __construct(#[\SensitiveParameter] $broker_connection, #[\SensitiveParameter] $backend_connection = false)
        {
        }
    }

    /**
     * A posted task and its result.
     *
     * @property-read mixed $result the result, or null until the task is ready
     * @property-read string $state the state, `'PENDING'` until the task is ready
     * @property-read string $status like $state
     */
    class AsyncResult
    {
        /**
         * @param string $id
         * @param array<string, mixed> $connection_details as for CeleryAdvanced
         * @param string|null $task_name used in messages
         * @param array<array-key, mixed>|null $task_args used in messages
         * @throws CeleryException if the details cannot be used
         */
        public function __construct(#[\SensitiveParameter] $id, #[\SensitiveParameter] $connection_details, $task_name = null, $task_args = null)
        {
        }

        /** @return string the task's id */
        public function getId()
        {
        }

        /**
         * Asks the result backend once, unless the result is here already.
         *
         * @return bool true if the task has ended
         * @throws CeleryException
         */
        public function isReady()
        {
        }

        /**
         * @return bool like isReady()
         * @throws CeleryException
         */
        public function ready()
        {
        }

        /**
         * @return string `'SUCCESS'`, `'FAILURE'` or `'REVOKED'`
         * @throws CeleryException before the task is ready
         */
        public function getStatus()
        {
        }

        /**
         * @return bool true if the task succeeded
         * @throws CeleryException before the task is ready
         */
        public function isSuccess()
        {
        }

        /**
         * @return bool like isSuccess()
         * @throws CeleryException before the task is ready
         */
        public function successful()
        {
        }

        /**
         * Asks the result backend, like isReady().
         *
         * @return bool true if the task has ended without success
         * @throws CeleryException
         */
        public function failed()
        {
        }

        /**
         * @return string|null the traceback of a failure
         * @throws CeleryException before the task is ready
         */
        public function getTraceback()
        {
        }

        /**
         * @return mixed the value that the task returned, objects as stdClass; for a failure, the
         * exception's description
         * @throws CeleryException before the task is ready
         */
        public function getResult()
        {
        }

        /**
         * Waits until the task has ended. PHP's signals and time limits still work meanwhile.
         *
         * @param int|float|string|null $timeout seconds; null: `celery.result_timeout`; 0: asks
         * once
         * @param bool $propagate no effect, as in celery-php 2.1 and 3.0: the error of a failed
         * task is returned
         * @param int|float|string|null $interval seconds between two requests if the backend cannot
         * notify the client
         * @return mixed like getResult()
         * @throws CeleryTimeoutException if the task has not ended in time
         * @throws CeleryConnectionException if the backend could not be asked, also because $timeout
         * ended before a connection was open
         * @throws CeleryException
         */
        public function get($timeout = 10, $propagate = true, $interval = 0.5)
        {
        }

        /**
         * @param int|float|string|null $timeout
         * @param bool $propagate
         * @param int|float|string|null $interval
         * @return mixed like get()
         * @throws CeleryTimeoutException
         * @throws CeleryConnectionException
         * @throws CeleryException
         */
        public function wait($timeout = 10, $propagate = true, $interval = 0.5)
        {
        }

        /**
         * Deletes the stored result, whatever its state.
         *
         * @return void
         * @throws CeleryException
         */
        public function forget()
        {
        }

        /**
         * Tells all workers to skip the task. A task that is already running continues.
         *
         * @return void
         * @throws CeleryException
         */
        public function revoke()
        {
        }

        /**
         * @param string $property
         * @return mixed
         */
        public function __get($property)
        {
        }

        /** @return array<string, mixed> the name of the connection; no address and no secret */
        public function __serialize(): array
        {
        }

        /**
         * @param array<string, mixed> $data
         * @throws CeleryException if the data is not from a stored result
         */
        public function __unserialize(array $data): void
        {
        }
    }
}

namespace Celery {
    class_alias(\CeleryException::class, CeleryException::class);
    class_alias(\CeleryTimeoutException::class, CeleryTimeoutException::class);
    class_alias(\CeleryConnectionException::class, CeleryConnectionException::class);
    class_alias(\CeleryPublishException::class, CeleryPublishException::class);
    class_alias(\CeleryAbstract::class, CeleryAbstract::class);
    class_alias(\AsyncResult::class, AsyncResult::class);

    /** `\Celery` with the signatures of celery-php 3.0; its results are never deleted by reading. */
    class Celery extends \CeleryAbstract
    {
        /**
         * Does not connect yet: the first post does. A URL contains everything; without one,
         * $login, $password and $vhost must be passed (null if there is none).
         *
         * @param string|null $host a name, an address, /path/to/socket, or a whole URL; without one `celery.broker_url` counts
         * @param string|null $login empty: the password alone
         * @param string|null $password
         * @param int|string|null $vhost the number of the database
         * @param string|null $exchange the queue
         * @param string|null $binding no effect on Redis
         * @param int|string|null $port 5672, celery-php's default, means 6379 here
         * @param string|false|null $connector none, `'amqp'`, `'amqps'`, `'pecl'`, `'php-amqplib'` or `'php-amqplib-ssl'` for RabbitMQ; `'redis'`, or `'rediss'` for TLS
         * @param int|null $result_expire no effect on Redis
         * @param array<string, string|bool|null>|null $ssl_options TLS, as in PHP's `ssl` stream context
         * @throws \CeleryException if the arguments cannot be used
         * @throws \ArgumentCountError if there are fewer than four and $host is not a URL
         */
        public function __construct(#[\SensitiveParameter] $host, #[\SensitiveParameter] $login = null, #[\SensitiveParameter] $password = null, #[\SensitiveParameter] $vhost = null, #[\SensitiveParameter] $exchange = 'celery', #[\SensitiveParameter] $binding = 'celery', #[\SensitiveParameter] $port = 5672, #[\SensitiveParameter] $connector = false, #[\SensitiveParameter] $result_expire = 0, #[\SensitiveParameter] $ssl_options = [])
        {
        }

        /**
         * @see \CeleryAbstract::PostTask()
         *
         * @param string $task
         * @param array<array-key, mixed> $args
         * @param bool $async_result
         * @param string|null $routing_key
         * @param array<string, mixed> $options
         * @return ($async_result is false ? true : \AsyncResult)
         * @throws \CeleryException
         */
        public function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $options = [])
        {
        }
    }

    /** `\CeleryAdvanced` with the signatures of celery-php 3.0; its results behave like those of `Celery\Celery`. */
    class CeleryAdvanced extends \CeleryAdvanced
    {
        /**
         * @param array<string, mixed> $broker_connection
         * @param array<string, mixed>|false|null $backend_connection
         * @throws \CeleryException if the arrays cannot be used
         */
        public function __construct(#[\SensitiveParameter] $broker_connection, #[\SensitiveParameter] $backend_connection = false)
        {
        }

        /**
         * @see \CeleryAbstract::PostTask()
         *
         * @param string $task
         * @param array<array-key, mixed> $args
         * @param bool $async_result
         * @param string|null $routing_key
         * @param array<string, mixed> $options
         * @return ($async_result is false ? true : \AsyncResult)
         * @throws \CeleryException
         */
        public function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $options = [])
        {
        }
    }

    /**
     * What application code needs of a client: type against it, replace it in tests, decorate it.
     *
     * It grows only in a major version. Options that a method of `Client` adds are not part of it: put them on the
     * signature with `Canvas::set()`.
     */
    interface ClientInterface
    {
        /**
         * Returns a signature that is bound to this client.
         *
         * @param list<mixed> $args
         * @param array<string, mixed> $kwargs
         * @return Signature<mixed>
         */
        public function signature(string $task, array $args = [], array $kwargs = []): Signature;

        /**
         * Sends a task by its name.
         *
         * @param list<mixed> $args
         * @param array<string, mixed> $kwargs
         * @return Result<mixed>
         * @throws \CeleryException
         */
        public function sendTask(string $task, array $args = [], array $kwargs = []): Result;

        /**
         * Sends a signature, chain, group or chord. Every other way to send ends here.
         *
         * @template TResult of ResultInterface
         * @param Canvas<TResult> $canvas
         * @return TResult
         * @throws \CeleryException
         */
        public function send(Canvas $canvas, float|\DateInterval|null $timeout = null, bool|RetryPolicy|null $retry = null, PublishMode|string|null $publish = null): ResultInterface;

        /**
         * Sends many in one round trip. All are encoded before the first is written.
         *
         * @template TKey of array-key
         * @param iterable<TKey, Canvas> $tasks
         * @return ResultSet<TKey, mixed> with the keys of $tasks
         * @throws PublishFailed if the broker did not confirm all of them
         * @throws \CeleryException
         */
        public function sendTasks(iterable $tasks, float|\DateInterval|null $timeout = null, bool|RetryPolicy|null $retry = null, PublishMode|string|null $publish = null): ResultSet;

        /**
         * Returns the result of a task sent earlier or elsewhere. Reads nothing.
         *
         * @return Result<mixed>
         */
        public function result(string $id): Result;

        /**
         * Returns the results of several tasks. Reads nothing.
         *
         * @template TKey of array-key
         * @param iterable<TKey, string|Result> $ids
         * @return ResultSet<TKey, mixed>
         */
        public function results(iterable $ids): ResultSet;

        /**
         * Restores a group that PHP or Python saved; null if the backend does not have it.
         *
         * @return GroupResult<mixed>|null
         * @throws \CeleryException
         */
        public function groupResult(string $id): ?GroupResult;

        /**
         * Waits for the broker's answers to pipelined posts.
         *
         * @throws PublishFailed if some were not confirmed
         * @throws \CeleryException
         */
        public function flush(): void;
    }

    /** A client of a broker and a result backend. Holds settings, not connections: those belong to the process. */
    final class Client implements ClientInterface
    {
        /**
         * Connects to nothing: the first call does. A setting that is null takes its INI directive, then Celery's default.
         *
         * @param string|list<string>|null $broker URL: redis, rediss, redis+socket, sentinel, redis+cluster, rediss+cluster, amqp, amqps; a list of the URLs of several Sentinels, or of the nodes of a Redis Cluster or of a RabbitMQ
         * @param string|list<string>|\PDO|null $backend URL; `'rpc://'` for replies over RabbitMQ; `'disabled'`; a PDO connection for Celery's database backend; null: the broker
         * @param string|null $queue default queue (`task_default_queue`)
         * @param array<string, string|array<string, mixed>|\Closure(string, list<mixed>, array<string, mixed>): (string|array<string, mixed>|null)> $routes glob of task names → queue, options, or a function; the first match counts
         * @param int|null $replicas replicas that must have a post before it counts as confirmed
         * @param int<1, 2>|null $protocol
         * @param int<0, 255>|null $priority default priority
         * @param array<string, mixed>|(\Closure(): array<string, mixed>)|null $headers added to every message that this client writes, e.g. trace context
         * @param string|null $keyPrefix `global_keyprefix` of the broker; for a Redis Cluster it needs a hash tag, unless the URL has a `prefix`
         * @param string|null $resultKeyPrefix `global_keyprefix` of the result backend; null: the prefix of the broker
         * @param string|null $masterName name of the master that Sentinels watch, if the URL has no `master_name` (kombu's transport option); null: `celery.master_name`
         * @param string|null $sentinelUser login to the Sentinels themselves, if the URL has no `sentinel_username`
         * @param string|null $sentinelPassword their password, if the URL has no `sentinel_password`
         * @param array<string, string|bool|null>|null $tls as PHP's `ssl` stream context
         * @param string|null $name shown by `phpinfo()` and in messages
         * @throws InvalidConfiguration if a URL or setting cannot be used
         */
        public function __construct(
            #[\SensitiveParameter] string|array|null $broker = null,
            #[\SensitiveParameter] string|array|\PDO|null $backend = null,
            ?string $queue = null,
            array $routes = [],
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            PublishMode|string|null $publish = null,
            ?RetryPolicy $retryPolicy = null,
            ?int $replicas = null,
            ?int $protocol = null,
            ?int $priority = null,
            ?bool $ignoreResult = null,
            array|\Closure|null $headers = null,
            ?\DateTimeZone $timezone = null,
            float|\DateInterval|null $connectTimeout = null,
            float|\DateInterval|null $postTimeout = null,
            float|\DateInterval|null $commandTimeout = null,
            float|\DateInterval|null $resultTimeout = null,
            ?string $keyPrefix = null,
            ?string $resultKeyPrefix = null,
            ?string $masterName = null,
            ?string $sentinelUser = null,
            #[\SensitiveParameter] ?string $sentinelPassword = null,
            #[\SensitiveParameter] ?array $tls = null,
            ?string $name = null,
            bool $sentEvents = false,
        ) {}

        /** Returns a client of the connection and settings of a drop-in client. */
        public static function fromCelery(\CeleryAbstract $celery): self {}

        /**
         * Returns the parts of a server's URL, as a client reads it, without connecting. What the URL does not have is
         * null. `path` is that of a unix socket; `ssl` has the TLS options that the URL sets, named as in PHP's `ssl`
         * stream context. `sentinels` are the addresses of Sentinels, and `cluster` those of the nodes of a Redis
         * Cluster, which stand in place of a host. Of a RabbitMQ, `scheme` is `amqp` or `amqps`, and only `tls` and
         * `display` are given. `display` is the whole address for people, with a masked password.
         *
         * @return array{tls: bool, host: ?string, port: ?int, path: ?string, username: ?string, password: ?string, database: ?int, ssl: array<string, string|bool>, priority_steps: list<int>|null, sep: ?string, scheme: string, display: string, sentinels: list<string>|null, master_name: ?string, cluster: list<string>|null, prefix: ?string}
         * @throws \CeleryException The URL cannot be used. The message does not repeat it.
         */
        public static function parseUrl(#[\SensitiveParameter] string $url): array {}

        /**
         * Returns a copy with other settings and the same connections. Arguments mean what the constructor's do.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function with(
            ?string $queue = null,
            ?array $routes = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            PublishMode|string|null $publish = null,
            ?RetryPolicy $retryPolicy = null,
            ?int $replicas = null,
            ?int $protocol = null,
            ?int $priority = null,
            ?bool $ignoreResult = null,
            array|\Closure|null $headers = null,
            ?\DateTimeZone $timezone = null,
            float|\DateInterval|null $connectTimeout = null,
            float|\DateInterval|null $postTimeout = null,
            float|\DateInterval|null $commandTimeout = null,
            float|\DateInterval|null $resultTimeout = null,
            ?string $name = null,
            ?bool $sentEvents = null,
        ): self {}

        /**
         * Returns a signature that is bound to this client. Options: §4.
         *
         * @param list<mixed> $args
         * @param array<string, mixed> $kwargs
         * @return Signature<mixed>
         * @throws \ValueError if an option is impossible
         */
        public function signature(
            string $task,
            array $args = [],
            array $kwargs = [],
            bool $immutable = false,
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
        ): Signature {}

        /**
         * Sends a task by its name. Options: §4.
         *
         * @param list<mixed> $args
         * @param array<string, mixed> $kwargs
         * @return Result<mixed>
         * @throws Unencodable if an argument cannot be sent; nothing was written
         * @throws PublishFailed if the broker did not confirm it; `outcomeUnknown()` says whether it may be queued
         * @throws \CeleryConnectionException if the broker was not reached; nothing was written
         * @throws \ValueError if an option is impossible
         */
        public function sendTask(
            string $task,
            array $args = [],
            array $kwargs = [],
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
            float|\DateInterval|null $timeout = null,
            bool|RetryPolicy|null $retry = null,
            PublishMode|string|null $publish = null,
        ): Result {}

        /** @throws \CeleryException */
        public function send(Canvas $canvas, float|\DateInterval|null $timeout = null, bool|RetryPolicy|null $retry = null, PublishMode|string|null $publish = null): ResultInterface {}

        /** @throws \CeleryException */
        public function sendTasks(iterable $tasks, float|\DateInterval|null $timeout = null, bool|RetryPolicy|null $retry = null, PublishMode|string|null $publish = null): ResultSet {}

        public function result(string $id): Result {}

        public function results(iterable $ids): ResultSet {}

        public function groupResult(string $id): ?GroupResult {}

        public function flush(): void {}

        /** Returns the remote control of all workers. */
        public function control(): Control {}

        /**
         * Listens to the events of the workers.
         *
         * @param string|list<string> $types globs: `'task-*'`, `'worker-heartbeat'`
         * @param float|\DateInterval|null $timeout of loops, in all; null: `celery.result_timeout`; INF: without limit
         * @param int|null $limit ends loops after this number of events
         * @param bool $enable asks the workers to send events
         * @throws \CeleryException
         */
        public function events(string|array $types = '*', float|\DateInterval|null $timeout = null, ?int $limit = null, bool $enable = false): Events {}

        /** Returns the entries that workers with `-B` send at their times. */
        public function schedules(): Schedules {}

        /**
         * Deletes the waiting tasks of the queues and returns their number. Without a name: the default queue.
         *
         * @throws \CeleryException
         */
        public function purge(string ...$queues): int {}

        /**
         * Returns the number of waiting tasks of each queue, all priorities and all groups of a fair queue together.
         *
         * @return array<string, int>
         * @throws \CeleryException
         */
        public function queueLengths(string ...$queues): array {}

        /**
         * Returns the number of tasks that workers hold and have not acknowledged, of all queues.
         *
         * @throws \CeleryException
         */
        public function heldTasks(): int {}

        /**
         * Returns the first waiting tasks of a queue, in the order in which workers take them. They stay in the queue.
         *
         * If workers take tasks meanwhile, some may be left out or appear twice.
         *
         * @param string|null $queue null: the default queue
         * @param int<1, 1000> $limit
         * @return list<WaitingTask>
         * @throws \CeleryException
         */
        public function waitingTasks(?string $queue = null, int $limit = 100): array {}

        /** Returns the dead letters of the broker. Reads nothing. */
        public function deadLetters(): DeadLetters {}

        /** @return array<string, mixed> addresses without credentials, and settings */
        public function __debugInfo(): array {}
    }

    /** The publishing retry of a client or a call. All of it happens inside the call's deadline. */
    final class RetryPolicy
    {
        /** How often a post is repeated at most; null: until its deadline. */
        public readonly ?int $maxRetries;
        /** The pause before the first repetition, in seconds. */
        public readonly float $intervalStart;
        /** By how many seconds each pause is longer than the one before. */
        public readonly float $intervalStep;
        /** The longest pause, in seconds. */
        public readonly float $intervalMax;

        /**
         * @param int|null $maxRetries null: until the deadline
         * @throws \ValueError if a number is negative
         */
        public function __construct(?int $maxRetries = 3, float $intervalStart = 0.0, float $intervalStep = 0.2, float $intervalMax = 1.0) {}
    }

    /**
     * Work that can be sent: a signature, a chain, a group, a chord. Immutable; every method that changes returns a copy.
     *
     * Only the classes of the extension extend it.
     *
     * @template-covariant TResult of ResultInterface
     */
    abstract class Canvas implements \JsonSerializable
    {
        /** The id its result will have: set by `freeze()` or `set(taskId:)`, else null. */
        public readonly ?string $id;

        /** Whether a result of a task before it is not passed on to it. */
        public readonly bool $immutable;

        /** @var array<string, mixed> options under Celery's names (`routing_key`, …) */
        public readonly array $options;

        /**
         * Returns a copy with further arguments: positional ones go before those it has, named ones replace (Python's `partial`, `clone`).
         *
         * @return static
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function s(mixed ...$arguments): static {}

        /**
         * Returns a copy with other options. Options: §4.
         *
         * @throws \ValueError if an option is impossible
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function set(
            ?bool $immutable = null,
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
        ): static {}

        /**
         * Returns a copy that does not take results of tasks before it (Python's `set_immutable`).
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function immutable(bool $immutable = true): static {}

        /**
         * Returns a copy that is followed by these tasks when it succeeds. A group refuses it: use `then()`.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function link(Canvas ...$callbacks): static {}

        /**
         * Returns a copy that calls these tasks when it fails. Of a group: each member does.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function linkError(Canvas ...$errbacks): static {}

        /**
         * Like `linkError()`, under the name that Celery's documentation uses in chains of calls.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function onError(Canvas ...$errbacks): static {}

        /**
         * Returns a copy with stamps on every task in it: `stamp(tenant: 'acme')`.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function stamp(mixed ...$stamps): static {}

        /**
         * Returns what runs the next ones after it, as Python's `|` does: a chain, or a chord where it is a group.
         *
         * @template TNext of ResultInterface
         * @param Canvas<TNext> ...$next
         * @return Canvas<TNext>
         * @throws \ValueError if they are bound to different clients
         * @throws \CeleryException if it would be nested too deep
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function then(Canvas ...$next): Canvas {}

        /** Returns a copy in which every task has its id, so that the id is known before sending (Python's `freeze`). */
        #[\NoDiscard]
        public function freeze(): static {}

        /**
         * Returns a copy that `delay()` and `applyAsync()` send through $client.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function bind(ClientInterface $client): static {}

        /**
         * Sends it with these arguments: `$add->delay(2, y: 3)`.
         *
         * @return TResult
         * @throws \CeleryException
         * @throws \LogicException if it is not bound to a client
         */
        public function delay(mixed ...$arguments): ResultInterface {}

        /**
         * Sends it with further arguments and options. Options: §4.
         *
         * @param list<mixed> $args
         * @param array<string, mixed> $kwargs
         * @return TResult
         * @throws \CeleryException
         * @throws \LogicException if it is not bound to a client
         * @throws \ValueError if an option is impossible
         */
        public function applyAsync(
            array $args = [],
            array $kwargs = [],
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
            float|\DateInterval|null $timeout = null,
            bool|RetryPolicy|null $retry = null,
            PublishMode|string|null $publish = null,
        ): ResultInterface {}

        /** @return array{task: string, args: list<mixed>, kwargs: array<string, mixed>, options: array<string, mixed>, subtask_type: ?string, immutable: bool} Celery's own form */
        public function toArray(): array {}

        /**
         * Reads Celery's own form of any canvas, as Python writes it.
         *
         * @param array<string, mixed> $signature
         * @return Signature|Chain|Group|Chord
         * @throws \CeleryException if it is not a signature
         */
        public static function fromArray(array $signature): Canvas {}

        /** @return array<string, mixed> as toArray() */
        public function jsonSerialize(): array {}

        /** @return array<string, mixed> as toArray(); not the client */
        public function __serialize(): array {}

        /** @param array<string, mixed> $data */
        public function __unserialize(array $data): void {}
    }

    /**
     * A call of one task.
     *
     * @template-covariant T what the task returns
     * @extends Canvas<Result<T>>
     */
    final class Signature extends Canvas
    {
        public readonly string $task;

        /** @var list<mixed> */
        public readonly array $args;

        /** @var array<string, mixed> */
        public readonly array $kwargs;

        /**
         * Makes a signature without a client. Options: §4.
         *
         * @param list<mixed> $args
         * @param array<string, mixed> $kwargs
         * @throws \ValueError if the name or an option is impossible, or $args is not a list
         */
        public function __construct(
            string $task,
            array $args = [],
            array $kwargs = [],
            bool $immutable = false,
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
        ) {}

        /**
         * Like `s()`, and immutable.
         *
         * @phpstan-pure
         */
        #[\NoDiscard]
        public function si(mixed ...$arguments): static {}

        /**
         * Returns a task that calls this one for each item, in one worker, and returns the list.
         *
         * @param iterable<mixed> $items
         * @return Signature<list<T>>
         */
        #[\NoDiscard]
        public function map(iterable $items): Signature {}

        /**
         * Like `map()`; each item is the list of positional arguments of a call.
         *
         * @param iterable<list<mixed>> $items
         * @return Signature<list<T>>
         */
        #[\NoDiscard]
        public function starmap(iterable $items): Signature {}

        /**
         * Returns a group of `starmap()` tasks of $size calls each. $items may be a generator.
         *
         * @param iterable<list<mixed>> $items
         * @return Group<list<T>>
         * @throws \ValueError if $size is less than 1
         */
        #[\NoDiscard]
        public function chunks(iterable $items, int $size): Group {}
    }

    /**
     * Tasks one after another; each gets the result of the one before.
     *
     * @template-covariant TResult of ResultInterface the last one's
     * @extends Canvas<TResult>
     */
    final class Chain extends Canvas implements \Countable, \IteratorAggregate
    {
        /** @var list<Canvas> */
        public readonly array $tasks;

        /** @throws \ValueError without tasks, or if they are bound to different clients */
        public function __construct(Canvas ...$tasks) {}

        public function count(): int {}

        /** @return \Traversable<int, Canvas> */
        public function getIterator(): \Traversable {}
    }

    /**
     * Tasks side by side.
     *
     * @template-covariant T what each returns
     * @extends Canvas<GroupResult<T>>
     */
    final class Group extends Canvas implements \Countable, \IteratorAggregate
    {
        /** @var list<Canvas> */
        public readonly array $tasks;

        /** `new Group(...$tasks)` takes an array or a generator. It may be empty. */
        public function __construct(Canvas ...$tasks) {}

        public function count(): int {}

        /** @return \Traversable<int, Canvas> */
        public function getIterator(): \Traversable {}
    }

    /**
     * A group, and a body that gets the list of its results.
     *
     * @template-covariant T what the body returns
     * @extends Canvas<Result<T>>
     */
    final class Chord extends Canvas
    {
        /** The tasks that run at once. */
        public readonly Group $header;
        /** What gets the list of their results. */
        public readonly Canvas $body;

        /** @param Group|iterable<Canvas> $header */
        public function __construct(iterable $header, Canvas $body) {}
    }

    /** What a single result and a collection of results have in common. Do not implement it: it may grow. */
    interface ResultInterface extends \JsonSerializable
    {
        /**
         * Waits and returns the value, or the list of values. PHP's signals and time limits are served meanwhile.
         *
         * @param float|\DateInterval|null $timeout null: `celery.result_timeout`; 0: one look; INF: without limit
         * @param bool $propagate false: returns the TaskException in the place of the value
         * @param (callable(TaskMeta): mixed)|null $onMessage called for every state that is published meanwhile (progress)
         * @param float $interval between two looks where the backend cannot push
         * @throws TaskException if a task failed or was revoked
         * @throws ResultTimeout if it was not there in time
         * @throws \CeleryConnectionException
         * @throws Unreadable if what is stored is not a result
         */
        public function get(float|\DateInterval|null $timeout = null, bool $propagate = true, ?callable $onMessage = null, float $interval = 0.5): mixed;

        /** Returns `true` if all of it has ended. Asks the backend once. */
        public function ready(): bool;

        /** Returns `true` if all of it has ended with success. */
        public function successful(): bool;

        /** Returns `true` if any of it has ended without success. */
        public function failed(): bool;

        /** Deletes what the backend stores for it and its parents. Nothing else ever does. */
        public function forget(): void;

        /** Tells the workers to skip it, and with $terminate to end it if it runs. */
        public function revoke(bool $terminate = false, string $signal = 'SIGTERM'): void;
    }

    /**
     * A task that was sent, and what came of it. Holds no connection; remembers a final state.
     *
     * @template-covariant T
     */
    final class Result implements ResultInterface
    {
        public readonly string $id;

        /** The name of the task, where this process knows it without asking. */
        public readonly ?string $name;

        /** The task or group before it in its chain. */
        public readonly Result|GroupResult|null $parent;

        private function __construct() {}

        /** Returns the result of a drop-in result. */
        public static function fromAsyncResult(\AsyncResult $result): self {}

        /** Returns a drop-in result that never deletes the stored result, as those of `Celery\Celery`. */
        public function toAsyncResult(): \AsyncResult {}

        /**
         * Returns a result that has ended and never asks a backend. For tests.
         *
         * @template V
         * @param V $value
         * @return self<V>
         */
        public static function succeeded(mixed $value, string $id = 'test'): self {}

        /** Returns a result that has failed and never asks a backend. For tests. */
        public static function failedWith(TaskException $exception): self {}

        /** @return T */
        public function get(float|\DateInterval|null $timeout = null, bool $propagate = true, ?callable $onMessage = null, float $interval = 0.5): mixed {}

        public function ready(): bool {}

        public function successful(): bool {}

        public function failed(): bool {}

        /** Returns the state as it is stored, custom ones included; `'PENDING'` if nothing is. Compare with `State`. */
        public function state(): string {}

        /** Returns all that is stored, in one read. */
        public function meta(): TaskMeta {}

        /** @return list<Result|GroupResult> what the task sent while it ran */
        public function children(): array {}

        public function forget(): void {}

        public function revoke(bool $terminate = false, string $signal = 'SIGTERM'): void {}

        /** @return array{id: string} never asks the backend */
        public function jsonSerialize(): array {}

        /** @return array<string, mixed> id, name, a final state, the name of the connection: no address, no secret */
        public function __serialize(): array {}

        /** @param array<string, mixed> $data */
        public function __unserialize(array $data): void {}
    }

    /**
     * Results that are awaited together, over one connection.
     *
     * @template TKey of array-key
     * @template-covariant T
     * @implements \IteratorAggregate<TKey, Result<T>|GroupResult<T>>
     * @implements \ArrayAccess<TKey, Result<T>|GroupResult<T>>
     */
    class ResultSet implements ResultInterface, \Countable, \IteratorAggregate, \ArrayAccess
    {
        /** @param iterable<TKey, Result|GroupResult> $results */
        public function __construct(iterable $results = []) {}

        /** @return array<TKey, T> the values under the results' keys */
        public function get(float|\DateInterval|null $timeout = null, bool $propagate = true, ?callable $onMessage = null, float $interval = 0.5): array {}

        /**
         * Yields the results as they end, each under its key.
         *
         * @return \Traversable<TKey, Result<T>|GroupResult<T>>
         * @throws ResultTimeout while iterating, with those that are missing
         */
        public function asCompleted(float|\DateInterval|null $timeout = null, float $interval = 0.5): \Traversable {}

        public function ready(): bool {}

        public function successful(): bool {}

        public function failed(): bool {}

        /** Returns `true` if any has not ended. */
        public function waiting(): bool {}

        /** Returns the number of those that ended with success. */
        public function completedCount(): int {}

        public function forget(): void {}

        public function revoke(bool $terminate = false, string $signal = 'SIGTERM'): void {}

        public function count(): int {}

        /** @return \Traversable<TKey, Result<T>|GroupResult<T>> in order, without waiting */
        public function getIterator(): \Traversable {}

        public function offsetExists(mixed $offset): bool {}

        /** @throws \OutOfBoundsException */
        public function offsetGet(mixed $offset): Result|GroupResult {}

        /** @throws \LogicException always: a set is read-only */
        public function offsetSet(mixed $offset, mixed $value): void {}

        /** @throws \LogicException always: a set is read-only */
        public function offsetUnset(mixed $offset): void {}

        /** @return list<array{id: string}> */
        public function jsonSerialize(): array {}

        /** @return array<string, mixed> */
        public function __serialize(): array {}

        /** @param array<string, mixed> $data */
        public function __unserialize(array $data): void {}
    }

    /**
     * The results of a group.
     *
     * @template-covariant T
     * @extends ResultSet<int, T>
     */
    final class GroupResult extends ResultSet
    {
        public readonly string $id;
        /** The result of the step before the group in a chain. */
        public readonly Result|GroupResult|null $parent;

        /** @param iterable<Result|GroupResult> $results */
        public function __construct(string $id, iterable $results = [], Result|GroupResult|null $parent = null) {}

        /** Stores the ids in the backend, for `Client::groupResult()` and Python's `GroupResult.restore()`. */
        public function save(): void {}

        /** Deletes what `save()` stored; the tasks' results stay. */
        public function delete(): void {}

        /** @return array<string, mixed> */
        public function __serialize(): array {}

        /** @param array<string, mixed> $data */
        public function __unserialize(array $data): void {}
    }

    /** What the backend stores for a task, at one moment. */
    final class TaskMeta implements \JsonSerializable
    {
        public readonly string $id;
        /** The state as stored: `'SUCCESS'`, `'PROGRESS'`, … */
        public readonly string $state;
        /** The value; of a failure the TaskException; of another state what the task said with it. */
        public readonly mixed $result;
        /** The traceback of a failure, as text. */
        public readonly ?string $traceback;
        /** When the state was stored, by the clock of the worker. */
        public readonly ?\DateTimeImmutable $dateDone;
        /** The id of the task that sent this one. */
        public readonly ?string $parentId;
        /** The id of the group that the task belongs to. */
        public readonly ?string $groupId;
        /** @var list<Result|GroupResult> */
        public readonly array $children;
        // Null unless the worker stores them (`result_extended`):
        /** The name of the task. Like all that follow: only with the setting `result_extended` of the worker. */
        public readonly ?string $name;
        /** @var list<mixed>|null */
        public readonly ?array $args;
        /** @var array<string, mixed>|null */
        public readonly ?array $kwargs;
        /** The node that ran the task. */
        public readonly ?string $worker;
        /** How often the task was retried. */
        public readonly ?int $retries;
        /** The queue from which the task came. */
        public readonly ?string $queue;
        /** @var array<string, mixed> */
        public readonly array $stamps;

        private function __construct() {}

        /** Returns the state as an enum; null if it is a custom one. */
        public function known(): ?State {}

        /** Returns `true` if the task has ended. */
        public function ready(): bool {}

        /** @return array<string, mixed> under Celery's names */
        public function jsonSerialize(): array {}
    }

    /** Celery's own states. Tasks may store others, so states travel as strings. */
    enum State: string
    {
        /** No state is stored: the task waits, or its id is not known. */
        case Pending = 'PENDING';
        /** A worker has the task. */
        case Received = 'RECEIVED';
        /** A worker runs the task; only with the setting `task_track_started`. */
        case Started = 'STARTED';
        /** The task failed and will run again. */
        case Retry = 'RETRY';
        /** The task returned. */
        case Success = 'SUCCESS';
        /** The task failed for good. */
        case Failure = 'FAILURE';
        /** The task was revoked or has expired. */
        case Revoked = 'REVOKED';
        /** A worker rejected the task. */
        case Rejected = 'REJECTED';
        /** The task asked not to store a result. */
        case Ignored = 'IGNORED';

        /** Returns `true` for the states in which a task has ended. */
        public function isReady(): bool {}
    }

    enum Serializer: string
    {
        case Json = 'json';
        case Msgpack = 'msgpack';
        case Yaml = 'yaml';
    }

    /** Strings may also be Celery's aliases: `zlib`, `bzip`, `lzma`, `zstandard`. */
    enum Compression: string
    {
        case Gzip = 'gzip';
        case Bzip2 = 'bzip2';
        case Xz = 'xz';
        case Zstd = 'zstd';
        case Brotli = 'brotli';
    }

    /** How a post deals with the broker's answer. */
    enum PublishMode: string
    {
        /** Waits for it. */
        case Confirmed = 'confirmed';
        /** Waits, and repeats safely if it is lost. */
        case Once = 'once';
        /** Goes on; `flush()` or the end of the request waits. */
        case Pipelined = 'pipelined';
    }

    /**
     * A value of a type that Python has and JSON lacks: kombu's `{"__type__": …, "__value__": …}`.
     *
     * It is JsonSerializable, so the drop-in classes send it as well. `DateTimeInterface` needs no wrapper.
     */
    final class Value implements \JsonSerializable
    {
        /** kombu's name of the type: `decimal`, `uuid`, `datetime`, … */
        public readonly string $type;
        /** The value as JSON has it. */
        public readonly mixed $value;

        private function __construct() {}

        /** Python's `bytes`, of any content. */
        public static function bytes(string $bytes): self {}

        /** Python's `Decimal`. @throws \ValueError if it is not a decimal number */
        public static function decimal(string|int|\Stringable $number): self {}

        /** Python's `UUID`, with or without dashes. @throws \ValueError if it is not a UUID */
        public static function uuid(string|\Stringable $uuid): self {}

        /** Python's `date`. */
        public static function date(\DateTimeInterface $date): self {}

        /** Python's `time`. */
        public static function time(\DateTimeInterface $time): self {}

        /** A type that the workers registered with `kombu.utils.json.register_type`. */
        public static function of(string $type, mixed $value): self {}

        /** @return array{__type__: string, __value__: mixed} */
        public function jsonSerialize(): array {}
    }

    /**
     * Remote control. Methods return the replies by node name; without $reply they wait for none and return [].
     *
     * $timeout is the time for the replies, null: `celery.control_timeout`. A call ends earlier when all workers that
     * received the command have replied.
     *
     * @phpstan-type Nodes string|list<string>|null
     * @phpstan-type Replies array<string, mixed>
     */
    final class Control
    {
        private function __construct() {}

        /**
         * Returns questions to the workers.
         *
         * @param float|\DateInterval|null $timeout for the answers; null: `celery.control_timeout`
         * @param string|list<string>|null $destination node names; null: all
         * @param int|null $limit ends the wait after this number of answers
         */
        public function inspect(string|array|null $destination = null, float|\DateInterval|null $timeout = null, ?int $limit = null, ?string $pattern = null, ?string $matcher = null): Inspect {}

        /** @return array<string, array{ok: string}> */
        public function ping(string|array|null $destination = null, float|\DateInterval|null $timeout = null, ?int $limit = null): array {}

        /** @param string|ResultInterface|list<string|ResultInterface> $task */
        public function revoke(string|array|ResultInterface $task, bool $terminate = false, string $signal = 'SIGTERM', string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** @param array<string, string|list<string>> $headers stamps and their values */
        public function revokeByStampedHeaders(array $headers, bool $terminate = false, string $signal = 'SIGTERM', string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Like `revoke()` with $terminate. */
        public function terminate(string|array|ResultInterface $task, string $signal = 'SIGTERM', string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Stops workers, which do not reply. */
        public function shutdown(string|array|null $destination = null): void {}

        /** @param string|int|float $rateLimit `'10/m'`, a number a second, 0 for none */
        public function rateLimit(string $task, string|int|float $rateLimit, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Sets time limits of a task, in seconds; null: none. */
        public function timeLimit(string $task, float|\DateInterval|null $soft = null, float|\DateInterval|null $hard = null, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** @param array<string, mixed> $options further settings of the queue */
        public function addConsumer(string $queue, ?string $exchange = null, string $exchangeType = 'direct', ?string $routingKey = null, array $options = [], string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Lets workers take no more tasks from a queue. */
        public function cancelConsumer(string $queue, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Lets workers run $n more tasks at once. */
        public function poolGrow(int $n = 1, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Lets workers run $n fewer tasks at once. */
        public function poolShrink(int $n = 1, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Sets the limits between which workers adapt the number of tasks that run at once. Only workers with an autoscaler accept it. */
        public function autoscale(int $max, int $min, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** @param list<string>|null $modules */
        public function poolRestart(?array $modules = null, bool $reload = false, string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Lets workers send events. */
        public function enableEvents(string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Lets workers send no more events. */
        public function disableEvents(string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null): array {}

        /** Lets workers send a `worker-heartbeat` event now; they do not reply. */
        public function heartbeat(string|array|null $destination = null): void {}

        /**
         * Sends any command, also one of the workers' own.
         *
         * @param array<string, mixed> $arguments
         * @param int|null $limit ends the wait after this number of replies; by default the number of destinations
         * @return array<string, mixed>
         * @throws \CeleryException
         */
        public function broadcast(string $command, array $arguments = [], string|array|null $destination = null, bool $reply = false, float|\DateInterval|null $timeout = null, ?int $limit = null, ?string $pattern = null, ?string $matcher = null): array {}
    }

    /**
     * Questions to the workers. Every answer is an array by node name, [] where no worker answered in time.
     *
     * @phpstan-type Request array{id: string, name: string, args: list<mixed>, kwargs: array<string, mixed>, type: string, hostname: string, time_start: ?float, acknowledged: bool, delivery_info: array<string, mixed>, worker_pid: ?int}
     */
    final class Inspect
    {
        private function __construct() {}

        /**
         * Returns the requests that run.
         *
         * @return array<string, list<Request>>
         */
        public function active(): array {}

        /**
         * Returns the requests that workers hold and have not begun.
         *
         * @return array<string, list<Request>>
         */
        public function reserved(): array {}

        /**
         * Returns the requests that wait for their ETA.
         *
         * @return array<string, list<array{eta: string, priority: int, request: Request}>>
         */
        public function scheduled(): array {}

        /**
         * Returns the ids that workers remember as revoked.
         *
         * @return array<string, list<string>>
         */
        public function revoked(): array {}

        /**
         * Returns the names of the tasks, with these items of each task: `'rate_limit'`.
         *
         * @return array<string, list<string>>
         */
        public function registered(string ...$taskInfoItems): array {}

        /**
         * Returns counts, the pool, the broker and resources of each worker.
         *
         * @return array<string, array<string, mixed>>
         */
        public function stats(): array {}

        /**
         * Returns the settings; $withDefaults: also those at their defaults.
         *
         * @return array<string, array<string, mixed>>
         */
        public function conf(bool $withDefaults = false): array {}

        /**
         * Returns the queues from which workers take tasks.
         *
         * @return array<string, list<array<string, mixed>>>
         */
        public function activeQueues(): array {}

        /**
         * Returns what workers know of tasks: where each is (`active`, `reserved`, `ready`), and its request.
         *
         * @return array<string, array<string, array{string, Request}>>
         */
        public function queryTask(string|Result ...$ids): array {}

        /**
         * Returns a `pong` of each worker.
         *
         * @return array<string, array{ok: string}>
         */
        public function ping(): array {}

        /**
         * Returns a description of each worker as text.
         *
         * @return array<string, array{ok: string}>
         */
        public function report(): array {}

        /**
         * Returns the logical clocks.
         *
         * @return array<string, array{clock: int}>
         */
        public function clock(): array {}
    }

    /** What happens to due times that passed while no worker led. */
    enum Missed: string
    {
        /** The task is sent once for all of them. */
        case Once = 'once';
        /** The task is sent for each of the last day. */
        case All = 'all';
        /** The task is not sent if its due time was more than a minute ago. */
        case None = 'none';
    }

    /**
     * Times of a clock, as Celery's `crontab`. A day counts only if day of the month, month and day of the week match.
     *
     * A field is a number, a list of numbers, or text: parts with commas between them. A part is `*`, a number, a name
     * (`mon`, `jan`), a range (`mon-fri`), or `*` or a range with a step (`*​/15`). Sunday is 0.
     */
    final class Crontab implements \JsonSerializable
    {
        /** @var int|string|list<int> 0 to 59 */
        public readonly int|string|array $minute;
        /** @var int|string|list<int> 0 to 23 */
        public readonly int|string|array $hour;
        /** @var int|string|list<int> 1 to 31 */
        public readonly int|string|array $dayOfMonth;
        /** @var int|string|list<int> 1 to 12 */
        public readonly int|string|array $monthOfYear;
        /** @var int|string|list<int> 0 to 6 */
        public readonly int|string|array $dayOfWeek;

        /**
         * @param int|string|list<int> $minute
         * @param int|string|list<int> $hour
         * @param int|string|list<int> $dayOfMonth
         * @param int|string|list<int> $monthOfYear
         * @param int|string|list<int> $dayOfWeek
         * @throws \ValueError if a field cannot be used, or no such day exists
         */
        public function __construct(int|string|array $minute = '*', int|string|array $hour = '*', int|string|array $dayOfMonth = '*', int|string|array $monthOfYear = '*', int|string|array $dayOfWeek = '*') {}

        /**
         * Reads a line of five fields: minute, hour, day of the month, month, day of the week.
         *
         * @throws \ValueError if it cannot be used
         */
        public static function fromString(string $crontab): self {}

        /** @return array<string, int|string|list<int>> under Celery's names (`day_of_week`) */
        public function jsonSerialize(): array {}
    }

    /** A time that passes between two due times. The first one is that long after the entry is added or enabled. */
    final class Interval implements \JsonSerializable
    {
        /** Seconds. */
        public readonly float $every;
        /** Whether due times are rounded down to the clock: to days, hours, minutes or seconds. */
        public readonly bool $relative;

        /**
         * @param float|\DateInterval $every seconds, from 0.1 to 36525 days
         * @throws \ValueError if it is too short or too long
         */
        public function __construct(float|\DateInterval $every, bool $relative = false) {}

        /** @return array{every: float, relative: bool} */
        public function jsonSerialize(): array {}
    }

    /** An entry of the schedules, as it was when it was read. */
    final class ScheduleEntry implements \JsonSerializable
    {
        public readonly string $name;
        public readonly string $task;
        public readonly Crontab|Interval $schedule;
        /** @var list<mixed> */
        public readonly array $args;
        /** @var array<string, mixed> */
        public readonly array $kwargs;
        /** @var array<string, mixed> options of the messages under Celery's names: `queue`, `priority`, `expires`, … */
        public readonly array $options;
        /** An IANA name or `±hh:mm`. */
        public readonly string $timezone;
        /** What becomes of due times that passed while no worker led. */
        public readonly Missed $missed;
        /** Whether it is due at all. */
        public readonly bool $enabled;
        /** Whether it is from the settings file of a worker. Such entries can be enabled and disabled only. */
        public readonly bool $fromFile;
        /** Null if it is not due, or if no worker has computed the time yet, which takes a second. */
        public readonly ?\DateTimeImmutable $nextDue;
        /** The number of messages that were sent. */
        public readonly int $sent;
        /** When the last message was sent, by the clock of the broker; null: never. */
        public readonly ?\DateTimeImmutable $lastSent;

        private function __construct() {}

        /** @return array<string, mixed> */
        public function jsonSerialize(): array {}
    }

    /**
     * The entries that workers with `-B` (`celery-worker beat`) send at their times. They are on the broker.
     *
     * Methods throw a `\CeleryException` if the broker cannot be asked, and a `\ValueError` for a name that no entry can
     * have: names have 1 to 255 bytes and no control characters.
     */
    final class Schedules
    {
        private function __construct() {}

        /**
         * Adds an entry, or replaces the one of this name. A due time that is known stays, unless schedule, zone or state change.
         *
         * @param Signature<mixed> $task with its arguments and options. An entry can have `queue`, `priority`, `expires` and
         *     `countdown` (seconds), `headers`, `serializer`, `compression`, `timeLimit`, `softTimeLimit`, `ignoreResult`
         *     and `shadow`. Without a queue, the routes of the worker that sends decide
         * @param \DateTimeZone|null $timezone for crontabs, with an IANA name or an offset; null: UTC
         * @param Missed|'once'|'all'|'none'|null $missed null: once
         * @return ScheduleEntry as it is stored now
         * @throws \ValueError if a worker could not use the entry
         * @throws \CeleryException also if the entry of this name is from the settings file of a worker
         */
        public function add(string $name, Crontab|Interval $schedule, Signature $task, ?\DateTimeZone $timezone = null, Missed|string|null $missed = null, bool $enabled = true): ScheduleEntry {}

        /**
         * Removes an entry. Returns false if there is none.
         *
         * @throws \CeleryException also if the entry is from the settings file of a worker
         */
        public function remove(string $name): bool {}

        /**
         * Lets entries be due again, from now on.
         *
         * @throws \CeleryException also if an entry does not exist
         */
        public function enable(string ...$names): void {}

        /**
         * Lets entries not be due any more. An entry of a settings file stays disabled unless the file enables it.
         *
         * @throws \CeleryException also if an entry does not exist
         */
        public function disable(string ...$names): void {}

        /** @throws \CeleryException also if the entry cannot be read */
        public function get(string $name): ?ScheduleEntry {}

        /** @return array<string, ScheduleEntry> by name, in the order of the names, without those that cannot be read */
        public function list(): array {}

        /** @return array<string, string> why entries cannot be read, by name: they were written by another program */
        public function unreadable(): array {}
    }

    /** A subscription to events, open from its creation to its destruction. @implements \IteratorAggregate<int, Event> */
    final class Events implements \IteratorAggregate
    {
        private function __construct() {}

        /** @return \Traversable<int, Event> until the deadline or the limit */
        public function getIterator(): \Traversable {}

        /** Returns the next event, or null after $timeout. For loops that do something else, too. */
        public function next(float|\DateInterval $timeout = 1.0): ?Event {}

        /** Ends the subscription. */
        public function close(): void {}
    }

    /** A task in a queue that no worker has taken. What the message does not say readably is null. */
    final class WaitingTask
    {
        public readonly ?string $id;
        public readonly ?string $task;
        /** The arguments as text, at most 1,024 characters: what the sender wrote for people, or Python's way to show them. */
        public readonly ?string $argsrepr;
        public readonly ?string $kwargsrepr;
        /** The time before which the task must not run. */
        public readonly ?\DateTimeImmutable $eta;
        public readonly int $priority;
        /** Bytes of the message. */
        public readonly int $size;

        private function __construct() {}
    }

    /**
     * The messages that Rust workers could not run (`celery-worker dead`). Each has a place, such as `1700000000000-0`.
     *
     * If an answer is lost, a call is repeated. A repeated `replay()` or `delete()` may then return false although the
     * first one did its work.
     *
     * RabbitMQ lets a queue be read only from its front. There, each call except count() takes the letters out and
     * returns them, so another program sees a part of them meanwhile. More than 10,000 letters are refused. A `replay()` is
     * not repeated; if it fails in between, the message may be in its queue and still be a dead letter.
     */
    final class DeadLetters implements \Countable
    {
        private function __construct() {}

        /**
         * Returns the number of dead letters.
         *
         * @throws \CeleryException
         */
        public function count(): int {}

        /**
         * Returns the newest dead letters, the newest first.
         *
         * @param int<1, 1000> $limit
         * @param string|null $before only those that are older than the one at this place
         * @return list<DeadLetter>
         * @throws \CeleryException
         * @throws \ValueError if $before is not a place
         */
        public function newest(int $limit = 100, ?string $before = null): array {}

        /**
         * Returns the dead letter at a place, or null if it was put back or deleted.
         *
         * @throws \CeleryException
         */
        public function find(string $place): ?DeadLetter {}

        /**
         * Returns the message of the dead letter at a place as the worker received it, or null. On RabbitMQ it is the
         * body; the headers are not included.
         *
         * @throws \CeleryException
         */
        public function message(string $place): ?string {}

        /**
         * Puts the message back into its queue, unchanged, and deletes the dead letter: both or neither, and once. On
         * RabbitMQ the deletion follows the confirm of the message.
         *
         * @return bool false if the dead letter was put back or deleted before
         * @throws \CeleryException if it cannot be put back, because its queue is unknown or missing, or it is the signature of a follow-up
         */
        public function replay(string $place): bool {}

        /**
         * Deletes the dead letter at a place; returns false if it was put back or deleted before.
         *
         * @throws \CeleryException
         */
        public function delete(string $place): bool {}
    }

    /** A message that a worker could not run. */
    final class DeadLetter
    {
        /** Its id in the stream of dead letters. */
        public readonly string $place;
        /** Empty if it is unknown. */
        public readonly string $queue;
        public readonly ?string $id;
        public readonly ?string $task;
        /** Why it could not be run: `not-registered`, `poison`, `rejected`, … */
        public readonly string $cause;
        public readonly string $worker;
        /** When it became a dead letter, in Unix seconds by the clock of Redis. */
        public readonly float $timestamp;
        /** As in `WaitingTask`. */
        public readonly ?string $argsrepr;
        public readonly ?string $kwargsrepr;
        /** Bytes of the message. */
        public readonly int $size;

        private function __construct() {}
    }

    /** An event of a worker. */
    final class Event implements \JsonSerializable
    {
        /** `task-succeeded`, `worker-heartbeat`, … */
        public readonly string $type;
        /** The node that sent it. */
        public readonly string $hostname;
        /** Unix time in seconds, by the clock of the node. */
        public readonly float $timestamp;
        /** The logical clock of the node, by which events of several nodes can be ordered. */
        public readonly int $clock;
        /** The task's id; null for events of workers. */
        public readonly ?string $uuid;
        /** @var array<string, mixed> all fields under Celery's names */
        public readonly array $fields;

        private function __construct() {}

        /** @return array<string, mixed> the fields */
        public function jsonSerialize(): array {}
    }

    /** A task that did not succeed. */
    abstract class TaskException extends \CeleryException
    {
        /** @param list<mixed> $arguments */
        public function __construct(string $message = '', string $taskId = 'test', string $type = 'Exception', ?string $module = 'builtins', array $arguments = [], ?string $traceback = null, ?\Throwable $previous = null) {}

        /** Returns the id of the task that failed. */
        public function taskId(): string {}

        /** Returns the remote class without its module: `ValueError`. */
        public function type(): string {}

        /** Returns its module, e.g. `builtins`; null if it was not stored. */
        public function module(): ?string {}

        /** @return list<mixed> the remote exception's arguments */
        public function arguments(): array {}

        /** Returns the remote traceback as the worker wrote it. */
        public function traceback(): ?string {}
    }

    /** The task raised an exception. `getPrevious()` is its cause where the traceback tells one. */
    class TaskFailed extends TaskException {}

    /** No worker knows the task. */
    class NotRegistered extends TaskFailed {}

    /** The task ran into its hard time limit. */
    class TimeLimitExceeded extends TaskFailed {}

    /** The task ran into its soft time limit and did not handle it. */
    class SoftTimeLimitExceeded extends TaskFailed {}

    /** The process that ran the task died. */
    class WorkerLost extends TaskFailed {}

    /** The task used up its retries without an exception of its own. */
    class MaxRetriesExceeded extends TaskFailed {}

    /** A task of a chord's header failed, so the body did not run. */
    class ChordFailed extends TaskFailed
    {
        /** Returns the id of the task that failed. */
        public function dependencyId(): ?string {}
    }

    /** The task was revoked, has expired, or was terminated. */
    class TaskRevoked extends TaskException
    {
        /** Returns `'revoked'`, `'expired'` or `'terminated'`. */
        public function reason(): string {}
    }

    /** Results were not there in time. Its code is 4, as its parent's. */
    class ResultTimeout extends \CeleryTimeoutException
    {
        /** @return list<string> the ids that are missing */
        public function pending(): array {}
    }

    /** Some posts were not confirmed. */
    class PublishFailed extends \CeleryPublishException
    {
        /** @return list<array-key> the keys of those, where several were sent */
        public function keys(): array {}

        /** Returns the results of those that were confirmed. */
        public function confirmed(): ResultSet {}
    }

    /** The broker or backend failed moments ago and is not asked again yet. */
    class CircuitOpen extends \CeleryConnectionException
    {
        /** Returns the seconds until it is asked again. */
        public function retryAfter(): float {}
    }

    /** An argument or option cannot be written in the message's serializer. Nothing was sent. */
    class Unencodable extends \CeleryException
    {
        /** Returns the place: `args[0].customer.name`. */
        public function path(): string {}
    }

    /** What the backend holds is not a result, or is pickled. It stays where it is. */
    class Unreadable extends \CeleryException {}

    /** A URL or setting cannot be used. */
    class InvalidConfiguration extends \CeleryException {}
}

namespace Celery\Testing {
    use Celery\{Canvas, ClientInterface, Compression, GroupResult, PublishMode, Result, ResultInterface, ResultSet, RetryPolicy, Schedules, Serializer, Signature};

    /** A client without a broker. It encodes every message as `Celery\Client` does, so a test meets the same errors. */
    final class FakeClient implements ClientInterface
    {
        /** Takes the settings of `Celery\Client` that shape messages. */
        public function __construct(?string $queue = null, array $routes = [], Serializer|string|null $serializer = null, ?int $protocol = null) {}

        /**
         * Says what results of a task return: a value, a TaskException, or a function of the message.
         *
         * @param string $task a name or a glob; the last one that matches counts; otherwise a result stays `PENDING`
         */
        public function willReturn(string $task, mixed $result): static {}

        /** Makes the next sends throw. */
        public function willThrow(\CeleryException $exception, int $times = 1): static {}

        /** @return list<SentTask> the messages that would have been published, of this name or glob */
        public function sent(?string $task = null): array {}

        /** @return list<Canvas> what was sent, whole */
        public function canvases(): array {}

        /** @return list<string> the ids that were revoked */
        public function revoked(): array {}

        /** Forgets what was sent, and all answers. */
        public function reset(): void {}

        public function signature(string $task, array $args = [], array $kwargs = [], bool $immutable = false,
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
        ): Signature {}

        public function sendTask(string $task, array $args = [], array $kwargs = [],
            float|\DateInterval|null $countdown = null,
            ?\DateTimeInterface $eta = null,
            \DateTimeInterface|\DateInterval|float|null $expires = null,
            ?string $queue = null,
            ?string $exchange = null,
            ?string $routingKey = null,
            ?int $priority = null,
            Serializer|string|null $serializer = null,
            Compression|string|null $compression = null,
            ?array $headers = null,
            ?string $taskId = null,
            ?string $rootId = null,
            ?string $parentId = null,
            ?string $groupId = null,
            ?int $groupIndex = null,
            ?string $shadow = null,
            ?string $replyTo = null,
            ?bool $ignoreResult = null,
            float|\DateInterval|null $timeLimit = null,
            float|\DateInterval|null $softTimeLimit = null,
            Canvas|array|null $link = null,
            Canvas|array|null $linkError = null,
            ?int $retries = null,
            ?string $argsrepr = null,
            ?string $kwargsrepr = null,
            ?array $stamps = null,
            ?bool $persistent = null,
            ?int $protocol = null,
            float|\DateInterval|null $timeout = null,
            bool|RetryPolicy|null $retry = null,
            PublishMode|string|null $publish = null,
        ): Result {}

        public function send(Canvas $canvas, float|\DateInterval|null $timeout = null, bool|RetryPolicy|null $retry = null, PublishMode|string|null $publish = null): ResultInterface {}

        public function sendTasks(iterable $tasks, float|\DateInterval|null $timeout = null, bool|RetryPolicy|null $retry = null, PublishMode|string|null $publish = null): ResultSet {}

        public function result(string $id): Result {}

        public function results(iterable $ids): ResultSet {}

        public function groupResult(string $id): ?GroupResult {}

        public function flush(): void {}

        /** Returns schedules that are in memory: nothing is sent, and `nextDue` stays null. `reset()` empties them. */
        public function schedules(): Schedules {}
    }

    /** A message as the broker would have got it. */
    final class SentTask
    {
        public readonly string $id;
        public readonly string $task;
        /** @var list<mixed> */
        public readonly array $args;
        /** @var array<string, mixed> */
        public readonly array $kwargs;
        public readonly string $queue;
        /** @var array<string, mixed> the headers of the message */
        public readonly array $headers;
        /** @var array<string, mixed> the properties of the message */
        public readonly array $properties;

        private function __construct() {}
    }
}
