<?php

/*
 * The arguments of `new Celery(...)`, one key for each; an environment variable can set each of
 * them.
 */

return [
    'host' => env('CELERY_HOST', env('REDIS_HOST', 'redis')),
    'user' => env('CELERY_USER'),
    'password' => env('CELERY_PASSWORD', env('REDIS_PASSWORD')),
    'vhost' => env('CELERY_VHOST', 0),
    'exchange' => env('CELERY_EXCHANGE', 'celery'),
    'binding' => env('CELERY_BINDING', 'celery'),
    'port' => env('CELERY_PORT', env('REDIS_PORT', 6379)),
    'connector' => env('CELERY_CONNECTOR', 'redis'),
    'persistent_messages' => false,
    'result_expire' => 0,
    'ssl_options' => [],
];
