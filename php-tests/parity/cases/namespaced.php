<?php

/** The namespaced classes of celery-php's unreleased 3.0: their shape, and code written for them. */

declare(strict_types=1);

use CeleryParity\Lab;
use CeleryParity\Shape;

$classes = ['CeleryAbstract', 'Celery', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryConnectionException', 'CeleryTimeoutException', 'CeleryPublishException'];
$names = array_map(fn (string $name) => "Celery\\$name", $classes);
$client = fn (Lab $lab) => new Celery\Celery('127.0.0.1', null, null, 0, 'celery', 'celery', $lab->redis->port, 'redis', 0, []);
$ready = function (Lab $lab) use ($client): object {
    $result = $client($lab)->PostTask('proj.add', [2, 3]);
    $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 5]);

    return $result;
};

return array_combine(
    array_map(fn (string $name) => "3.0 shape: $name", $names),
    array_map(fn (string $name) => fn (Lab $lab) => Shape::of($name, $lab->observation), $names),
) + [
    '3.0: a task and its result' => fn (Lab $lab) => [
        'get' => $lab->answer(fn () => $ready($lab)->get(5, true, 0.01)),
        'is' => $ready($lab) instanceof Celery\AsyncResult,
        'client is' => $client($lab) instanceof Celery\CeleryAbstract,
    ],
    '3.0: no result wanted' => fn (Lab $lab) => $lab->answer(fn () => $client($lab)->PostTask('proj.add', [2, 3], false)),
    '3.0: options by name' => fn (Lab $lab) => $lab->answer(fn () => $client($lab)->PostTask('proj.add', [2, 3], false, options: ['retries' => 1])),
    '3.0: arguments by name' => fn (Lab $lab) => $lab->answer(fn () => (new Celery\Celery(
        host: '127.0.0.1',
        login: null,
        password: null,
        vhost: null,
        port: $lab->redis->port,
        connector: 'redis',
        result_expire: 60000,
        ssl_options: [],
    ))->PostTask('proj.add', [2, 3], false)),
    '3.0: advanced' => fn (Lab $lab) => $lab->answer(fn () => (new Celery\CeleryAdvanced($lab->details()))->PostTask('proj.add', [2, 3], false)),
    '3.0: not args' => fn (Lab $lab) => $lab->answer(fn () => $client($lab)->PostTask('proj.add', null)),
    '3.0: nothing there' => fn (Lab $lab) => $lab->answer(fn () => $client($lab)->PostTask('proj.add', [2, 3])->get(0.1, true, 0.01), ['proj.add', '[2,3]']),
    '3.0: too early' => fn (Lab $lab) => $lab->answer(fn () => $client($lab)->PostTask('proj.add', [2, 3])->getResult()),
    '3.0: extended' => function (Lab $lab): array {
        $client = new class('127.0.0.1', null, null, 0, 'celery', 'celery', $lab->redis->port, 'redis') extends Celery\Celery {
            public function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $options = [])
            {
                return parent::PostTask("blog.$task", $args, $async_result, $routing_key, $options);
            }
        };

        return $lab->answer(fn () => $client->PostTask('add', [2, 3], false));
    },
];
