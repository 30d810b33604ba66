<?php

/** Subclasses as applications wrote them: untyped overrides, own constructors, own properties. */

declare(strict_types=1);

use CeleryParity\Lab;

return [
    'extend: Celery with PostTask overridden' => function (Lab $lab): array {
        $client = new class('127.0.0.1', null, null, 0, 'celery', 'celery', $lab->redis->port, 'redis') extends Celery {
            public $log = [];

            function PostTask($task, $args, $async_result = true, $routing_key = 'celery', $task_args = array())
            {
                $this->log[] = $task;

                return parent::PostTask("blog.$task", $args, $async_result, $routing_key, $task_args);
            }
        };

        return $lab->post(fn () => $client->PostTask('add', [2, 3])) + ['log' => $client->log, 'is' => $client instanceof CeleryAbstract];
    },
    'extend: Celery with a constructor of its own' => function (Lab $lab): array {
        $client = new class($lab->redis->port) extends Celery {
            public function __construct(public int $redisPort)
            {
                parent::__construct('127.0.0.1', null, null, null, 'celery', 'celery', $redisPort, 'redis');
            }
        };

        return $lab->post(fn () => $client->PostTask('proj.add', [2, 3], false)) + ['own' => $client->redisPort === $lab->redis->port];
    },
    'extend: CeleryAbstract' => function (Lab $lab): array {
        $client = new class($lab->details()) extends CeleryAbstract {
            function __construct($details)
            {
                $this->BuildConnection($details);
                $this->BuildConnection($details, true);
            }
        };
        $result = $lab->known($client->PostTask('proj.add', [2, 3]));
        $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 5]);

        return ['get' => $lab->answer(fn () => $result->get(5, true, 0.01))];
    },
    'extend: a constructor that forgets its parent' => function (Lab $lab): array {
        $client = new class() extends Celery {
            public function __construct()
            {
            }
        };

        return $lab->answer(fn () => $client->PostTask('proj.add', [2, 3]));
    },
    'extend: CeleryAbstract itself cannot be made' => fn (Lab $lab) => $lab->answer(fn () => new CeleryAbstract()),
    'extend: AsyncResult' => function (Lab $lab): array {
        $result = new class('by-hand', $lab->details(), 'proj.add', [2, 3]) extends AsyncResult {
            function isReady()
            {
                return parent::isReady();
            }

            function getResult()
            {
                return ['wrapped' => parent::getResult()];
            }
        };
        $lab->store('by-hand', ['status' => 'SUCCESS', 'result' => 5]);

        return [
            'get' => $lab->answer(fn () => $result->get(5, true, 0.01)),
            'property' => $lab->answer(fn () => $result->result),
            'is' => $result instanceof AsyncResult,
        ];
    },
    'extend: AsyncResult whose isReady says no' => function (Lab $lab): array {
        $result = new class('by-hand', $lab->details(), 'proj.add', [2, 3]) extends AsyncResult {
            function isReady()
            {
                return false;
            }
        };
        $lab->store('by-hand', ['status' => 'SUCCESS', 'result' => 5]);

        return [
            'get' => $lab->answer(fn () => $result->get(0.1, true, 0.01)),
            'state' => $lab->answer(fn () => $result->state),
            'failed' => $lab->answer(fn () => $result->failed()),
        ];
    },
    'extend: exceptions' => function (Lab $lab): array {
        try {
            throw new class('mine', 9) extends CeleryTimeoutException {
            };
        } catch (CeleryException $caught) {
            return [$caught->getMessage(), $caught->getCode()];
        }
    },
    'extend: a function that declares what it returns' => function (Lab $lab): array {
        $send = fn (Celery $client): AsyncResult => $client->PostTask('proj.add', [2, 3]);

        return ['is' => $send($lab->client()) instanceof AsyncResult];
    },
    'client: shown' => function (Lab $lab): array {
        $lab->redis->command('CONFIG', 'SET', 'requirepass', 'hush-hush');
        try {
            $client = $lab->client(['password' => 'hush-hush']);

            return ['the secret is in print_r' => str_contains(print_r($client, true), 'hush-hush')];
        } finally {
            $lab->redis->command('CONFIG', 'SET', 'requirepass', '');
        }
    },
    'client: cloned' => fn (Lab $lab) => $lab->post(fn () => (clone $lab->client())->PostTask('proj.add', [2, 3], false)),
];
