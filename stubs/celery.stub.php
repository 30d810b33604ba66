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
         * @param string|false|null $connector `'redis'`, or `'rediss'` for TLS
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
         * @param string|false|null $connector `'redis'`, or `'rediss'` for TLS
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
}
