<?php

/*
 * The arguments of celery-php's client, one key for each; an environment variable can set each of
 * them. The broker is a Redis, or with CELERY_CONNECTOR=amqp a RabbitMQ.
 */

$rabbitmq = env('CELERY_CONNECTOR', 'redis') !== 'redis';

return [
    'host' => env('CELERY_HOST', $rabbitmq ? env('AMQP_URL', 'rabbitmq') : env('REDIS_HOST', 'redis')),
    'user' => env('CELERY_USER'),
    'password' => env('CELERY_PASSWORD', $rabbitmq ? null : env('REDIS_PASSWORD')),
    'vhost' => env('CELERY_VHOST', $rabbitmq ? null : 0),
    'exchange' => env('CELERY_EXCHANGE', 'celery'),
    'binding' => env('CELERY_BINDING', 'celery'),
    'port' => env('CELERY_PORT', $rabbitmq ? 5672 : env('REDIS_PORT', 6379)),
    'connector' => env('CELERY_CONNECTOR', 'redis'),
    'persistent_messages' => false,
    'result_expire' => 0,
    'ssl_options' => [],

    // Seconds for a post, for a broker that is slow. null: that of php.ini.
    'post_timeout' => env('CELERY_POST_TIMEOUT'),

    // The URL of the Redis that keeps the results. null: the Redis that is the broker.
    'result_backend' => $rabbitmq ? env('CELERY_RESULT_BACKEND', env('REDIS_URL', 'redis://redis')) : null,
];
