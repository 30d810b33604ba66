<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * The tools of a case on RabbitMQ, with one of celery-php's connectors: also a server to prepare and
 * inspect, on which nothing is declared at first.
 */
final class RabbitMqLab extends Tools
{
    /** The two of celery-php's connectors for RabbitMQ that need no TLS. */
    public const CONNECTORS = ['pecl', 'php-amqplib'];

    /** celery-php waits for no confirm, so that its message may arrive later. */
    private const PATIENCE_S = 0.3;

    public readonly string $connector;

    /** @param string $case the name of the case, which begins with that of its connector */
    public function __construct(public readonly PrivateRabbitMq $rabbitmq, string $case)
    {
        parent::__construct();
        $this->connector = strstr($case, ':', true);
        $rabbitmq->ask('reset');
    }

    protected function arguments(): array
    {
        return [
            'host' => '127.0.0.1',
            'login' => 'guest',
            'password' => 'guest',
            'vhost' => '/',
            'exchange' => 'celery',
            'binding' => 'celery',
            'port' => $this->rabbitmq->port,
            'connector' => $this->connector,
            'persistent_messages' => false,
            'result_expire' => 0,
            'ssl_options' => [],
        ];
    }

    /** Declares a queue as a Celery worker does, bound to an exchange. */
    public function declare(string $queue = 'celery', string $exchange = 'celery', ?string $key = null, array $arguments = []): self
    {
        $this->rabbitmq->ask('declare', $queue, $exchange, $key ?? $queue, (object) $arguments);

        return $this;
    }

    /** Declares the exchange that workers of Celery 3 sent results to. */
    public function declareResults(): self
    {
        $this->rabbitmq->ask('declare_results');

        return $this;
    }

    public function envelopes(): array
    {
        return (array) $this->rabbitmq->ask('take', extension_loaded('celery') ? 0 : self::PATIENCE_S);
    }

    /** Returns the answer of one post, what it leaves in the queues, and what exists then. */
    public function postAndLook(callable $post): array
    {
        return $this->post($post) + ['there' => $this->observation->value((array) $this->rabbitmq->ask('there'))];
    }

    /** Answers the one waiting task as a worker with the result backend `rpc` or `amqp` does. */
    public function reply(string $way, string $task, array $document): void
    {
        $envelope = current(current($this->envelopes()));
        $queue = $envelope->properties->reply_to ?? '';
        $more = ['task_id' => $task, 'traceback' => null, 'children' => []];
        $this->rabbitmq->ask('reply', $way, $task, $queue, $document + $more);
    }
}
