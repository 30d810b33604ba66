<?php

/**
 * Constructors: the arguments they accept, where a post then goes, and the answer to a wrong one.
 */

declare(strict_types=1);

use CeleryParity\Lab;
use CeleryParity\PrivateRedis;

/**
 * Constructs with the given arguments and posts; returns the common answer and the databases that
 * then hold keys.
 */
$reaches = fn (array $arguments) => function (Lab $lab) use ($arguments): array {
    $answer = $lab->answer(fn () => $lab->client($arguments)->PostTask('proj.add', [2, 3], false));
    $holding = [];
    foreach (range(0, 4) as $database) {
        $lab->redis->command('SELECT', (string) $database);
        if ($lab->redis->command('EXISTS', $arguments['exchange'] ?? 'celery') === 1) {
            $holding[] = $database;
        }
    }
    $lab->redis->command('SELECT', '0');

    return ['answer' => $answer, 'databases' => $holding];
};

return [
    'connect: nulls for login, password' => $reaches([]),
    'connect: empty strings for login, password, vhost' => $reaches(['login' => '', 'password' => '', 'vhost' => '']),
    'connect: a login without a password' => $reaches(['login' => 'guest']),
    'connect: host by name' => $reaches(['host' => 'localhost']),
    'connect: vhost null' => $reaches(['vhost' => null]),
    'connect: vhost a slash' => $reaches(['vhost' => '/']),
    'connect: vhost 3' => $reaches(['vhost' => 3]),
    'connect: vhost "3"' => $reaches(['vhost' => '3']),
    'connect: vhost "/3"' => $reaches(['vhost' => '/3']),
    'connect: vhost that is not a number' => $reaches(['vhost' => 'blog']),
    'connect: vhost false' => $reaches(['vhost' => false]),
    'connect: connector in capitals' => $reaches(['connector' => 'Redis']),
    'connect: connector unknown' => $reaches(['connector' => 'carrier-pigeon']),
    'connect: connector left to choose' => $reaches(['connector' => false]),
    'connect: connector null' => $reaches(['connector' => null]),
    'connect: exchange null' => $reaches(['exchange' => null]),
    'connect: exchange of another name' => $reaches(['exchange' => 'mail']),
    'connect: binding of another name' => $reaches(['binding' => 'mail']),
    'connect: persistent messages' => $reaches(['persistent_messages' => true]),
    'connect: result_expire' => $reaches(['result_expire' => 60000]),
    'connect: config values that are null' => $reaches(['binding' => null, 'persistent_messages' => null, 'result_expire' => null, 'ssl_options' => null]),
    'connect: port as a string' => fn (Lab $lab) => $reaches(['port' => (string) $lab->redis->port])($lab),

    'connect: no server listens' => fn (Lab $lab) => [
        'construct' => $lab->answer(function () use ($lab, &$client) {
            $client = $lab->client(['port' => PrivateRedis::freePort()]);
        }),
        'post' => $lab->answer(fn () => $client?->PostTask('proj.add', [2, 3])),
    ],
    'connect: a second post on one client' => function (Lab $lab): array {
        $client = $lab->client();
        $client->PostTask('proj.add', [1, 1], false);
        $client->PostTask('proj.add', [2, 2], false);

        return ['length' => $lab->redis->command('LLEN', 'celery')];
    },
    'connect: by names of arguments' => fn (Lab $lab) => $lab->answer(fn () => (new Celery(
        login: null,
        host: '127.0.0.1',
        password: null,
        vhost: null,
        connector: 'redis',
        port: $lab->redis->port,
    ))->PostTask('proj.add', [2, 3], false)),
    'connect: too few arguments' => fn (Lab $lab) => $lab->answer(fn () => new Celery('127.0.0.1')),

    'advanced: one array' => fn (Lab $lab) => [
        'answer' => $lab->answer(fn () => (new CeleryAdvanced($lab->details()))->PostTask('proj.add', [2, 3], false)),
        'posted' => $lab->redis->command('LLEN', 'celery'),
    ],
    'advanced: only the needed keys' => fn (Lab $lab) => [
        'answer' => $lab->answer(fn () => (new CeleryAdvanced([
            'host' => '127.0.0.1', 'port' => $lab->redis->port, 'connector' => 'redis', 'vhost' => 0,
        ]))->PostTask('proj.add', [2, 3], false)),
        'posted' => $lab->redis->command('LLEN', 'celery'),
    ],
    'advanced: unknown keys' => fn (Lab $lab) => $lab->answer(
        fn () => (new CeleryAdvanced($lab->details(['colour' => 'blue'])))->PostTask('proj.add', [2, 3], false),
    ),
    'advanced: an exchange' => fn (Lab $lab) => [
        'answer' => $lab->answer(fn () => (new CeleryAdvanced($lab->details(['exchange' => 'mail'])))->PostTask('proj.add', [2, 3], false)),
        'posted' => $lab->redis->command('LLEN', 'mail'),
    ],
    'advanced: not an array' => fn (Lab $lab) => $lab->answer(fn () => (new CeleryAdvanced('127.0.0.1'))->PostTask('proj.add', [2, 3])),
    'advanced: results in another database' => function (Lab $lab): array {
        $client = new CeleryAdvanced($lab->details(), $lab->details(['vhost' => 2]));
        $result = $lab->known($client->PostTask('proj.add', [2, 3]));
        $lab->redis->command('SELECT', '2');
        $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 5]);
        $answer = $lab->answer(fn () => $result->get(5, true, 0.01));
        $kept = $lab->stored($result->getId());
        $lab->redis->command('SELECT', '0');

        return ['posted in 0' => $lab->redis->command('LLEN', 'celery'), 'got' => $answer, 'kept' => $kept];
    },
    'advanced: backend null or empty is the broker' => function (Lab $lab): array {
        $seen = [];
        foreach (['false' => false, 'null' => null, 'empty' => []] as $name => $backend) {
            $result = $lab->known((new CeleryAdvanced($lab->details(), $backend))->PostTask('proj.add', [2, 3]));
            $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 5]);
            $seen[$name] = $lab->answer(fn () => $result->get(5, true, 0.01));
        }

        return $seen;
    },

    'build: a connection of one\'s own' => function (Lab $lab): array {
        $client = $lab->client();
        $answer = $lab->answer(fn () => $client->BuildConnection($lab->details(['exchange' => 'mail'])));
        $client->PostTask('proj.add', [2, 3], false);

        return ['answer' => $answer, 'mail' => $lab->redis->command('LLEN', 'mail'), 'celery' => $lab->redis->command('LLEN', 'celery')];
    },
    'build: a backend of one\'s own' => function (Lab $lab): array {
        $client = $lab->client();
        $answer = $lab->answer(fn () => $client->BuildConnection($lab->details(['vhost' => 2]), true));
        $result = $lab->known($client->PostTask('proj.add', [2, 3]));
        $lab->redis->command('SELECT', '2');
        $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 5]);
        $lab->redis->command('SELECT', '0');

        return ['answer' => $answer, 'got' => $lab->answer(fn () => $result->get(2, true, 0.01))];
    },
    'build: a connection object' => fn (Lab $lab) => $lab->answer(fn () => is_object(Celery::InitializeAMQPConnection($lab->details()))),
];
