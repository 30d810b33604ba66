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
];
