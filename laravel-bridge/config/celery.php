<?php

/*
|--------------------------------------------------------------------------
| Celery
|--------------------------------------------------------------------------
|
| Publish this file with
|
|     php artisan vendor:publish --tag=celery-config
|
| A key that is missing or null has the value shown here. A flat file of eleven keys (host, user,
| password, vhost, exchange, …), as applications of celery-php have it, is the connection "default".
|
*/

return [

    // The connection used when none is named.
    'default' => env('CELERY_CONNECTION', 'default'),

    // Whether jobs of the queue connection are tracked in the table celery_jobs, so that celery:listen
    // brings their outcomes: failed(), failed_jobs, events. Null: if the table exists.
    'track' => env('CELERY_TRACK'),

    // The web pages that show workers, queues and jobs. Outside the environment "local" the gate
    // "viewCelery" decides who sees them; without that gate no user does.
    'dashboard' => [
        'enabled' => env('CELERY_DASHBOARD', false),
        'path' => env('CELERY_DASHBOARD_PATH', 'celery'),
        'domain' => env('CELERY_DASHBOARD_DOMAIN'),
        // The first group must start the session and check the CSRF token, as "web" does.
        'middleware' => ['web'],
    ],

    'connections' => [

        'default' => [

            // The address of the broker, in one of three forms. The first form that is set counts.
            // 1. A URL: redis://, rediss://, unix:///path, sentinel://, redis+cluster://, amqp://. The single
            // values below fill in the parts that the URL does not have. Several Sentinels, nodes of a
            // Redis Cluster or RabbitMQs are one text with semicolons, or an array.
            'url' => env('CELERY_BROKER_URL'),
            'master_name' => env('CELERY_MASTER_NAME'),

            // 2. The name of one of Laravel's own connections: "default" is database.redis.default.
            'redis' => env('CELERY_REDIS'),

            // 3. Single values. A host that begins with "/" is a unix socket.
            'host' => env('CELERY_HOST', '127.0.0.1'),
            'port' => env('CELERY_PORT', 6379),
            'username' => env('CELERY_USERNAME'),
            'password' => env('CELERY_PASSWORD'),
            'database' => env('CELERY_DATABASE', 0),

            // TLS. Any option in "ssl" turns it on too; the options are those of PHP's "ssl" stream
            // context.
            'tls' => env('CELERY_TLS', false),
            'ssl' => [
                'cafile' => env('CELERY_SSL_CAFILE'),
                'peer_name' => env('CELERY_SSL_PEER_NAME'),
                'local_cert' => env('CELERY_SSL_LOCAL_CERT'),
                'local_pk' => env('CELERY_SSL_LOCAL_PK'),
                'passphrase' => env('CELERY_SSL_PASSPHRASE'),
                'verify_peer' => env('CELERY_SSL_VERIFY_PEER'),
                'verify_peer_name' => env('CELERY_SSL_VERIFY_PEER_NAME'),
            ],

            // The queue of a task without a queue of its own.
            'queue' => env('CELERY_QUEUE', 'celery'),

            // The server of the results: a URL, or an array with the keys above. Null: the broker.
            'result_backend' => env('CELERY_RESULT_BACKEND'),

            // The lists of a queue on Redis: priority_steps and sep of Celery's
            // broker_transport_options, which must be equal in every worker and producer. Null: the
            // INI settings celery.priority_steps, celery.priority_sep.
            'priority_steps' => env('CELERY_PRIORITY_STEPS'),
            'sep' => env('CELERY_PRIORITY_SEP'),

            // The seconds for a whole post: name, connect, TLS, answer. Null: the INI setting
            // celery.post_timeout.
            'timeout' => env('CELERY_TIMEOUT'),

            // Inside a database transaction a task is posted after the commit, and dropped on a rollback.
            'after_commit' => env('CELERY_AFTER_COMMIT', true),

        ],

    ],

];
