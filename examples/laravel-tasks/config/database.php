<?php

return [
    'default' => 'mysql',
    'connections' => [
        'mysql' => [
            'driver' => 'mysql',
            'host' => env('DB_HOST', '127.0.0.1'),
            'port' => env('DB_PORT', '3306'),
            'database' => env('DB_DATABASE', 'tasks'),
            'username' => env('DB_USERNAME', 'tasks'),
            'password' => env('DB_PASSWORD', ''),
            'unix_socket' => env('DB_SOCKET', ''),
            'charset' => 'utf8mb4',
            'collation' => 'utf8mb4_unicode_ci',
            'prefix' => '',
            // Laravel writes dates in app.timezone, which is UTC here. The worker does so too with
            // --database-time-zone +00:00.
            'timezone' => '+00:00',
            'strict' => true,
            'engine' => null,
        ],
    ],
    'migrations' => 'migrations',

    // The broker of config/celery.php: the page /work counts what waits there.
    'redis' => [
        'client' => extension_loaded('redis') ? 'phpredis' : 'predis',
        'default' => [
            'host' => env('CELERY_HOST', env('REDIS_HOST', 'redis')),
            'username' => env('CELERY_USER'),
            'password' => env('CELERY_PASSWORD', env('REDIS_PASSWORD')),
            'port' => env('CELERY_PORT', env('REDIS_PORT', 6379)),
            'database' => env('CELERY_VHOST', 0),
        ],
    ],
];
