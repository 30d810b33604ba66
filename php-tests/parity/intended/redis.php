<?php

/**
 * The intended differences between the extension and celery-php.
 *
 * Each group has a reason and, for each case, the places that differ with exactly our answer. A
 * place is a path into the observation; ABSENT means that our observation has no such place. A
 * group with `protocol` applies only to runs with that `celery.task_protocol`.
 */

declare(strict_types=1);

namespace CeleryParity;

/** Returns the places that change when a call that returned something before now throws. */
$throws = fn (string $call, string $class, array $parents = [], int $code = 0): array => array_combine(
    array_map(fn (string $part) => $call === '' ? $part : "$call > $part", ['returned', 'threw', 'parents', 'code']),
    [Transcript::ABSENT, $class, $parents, $code],
);
/** Returns the places that change when a call that threw before now returns. */
$returns = fn (string $call, mixed $value): array => array_combine(
    array_map(fn (string $part) => $call === '' ? $part : "$call > $part", ['returned', 'threw', 'parents', 'code']),
    [$value, Transcript::ABSENT, Transcript::ABSENT, Transcript::ABSENT],
);

/** The places of a constructor whose parameters after `$host` may be omitted. */
$behindUrl = array_merge(...array_map(fn (int $index): array => [
    "methods > __construct > parameters > $index > default" => null,
    "methods > __construct > parameters > $index > optional" => true,
], [1, 2, 3]));

return [
    [
        'why' => 'A URL alone is enough: the parameters after it may be omitted.',
        'cases' => [
            'shape: Celery' => $behindUrl,
        ],
    ],
    [
        'why' => 'The client connects only when needed, and a failure is a CeleryException, not one of predis.',
        'cases' => [
            'connect: no server listens' => [
                ...$returns('construct', null),
                ...$throws('post', 'CeleryConnectionException', ['CeleryException']),
            ],
        ],
    ],
    [
        'why' => 'Databases may be written as in a URL; a name that is not a number is refused with an error that shows it, before the server is asked.',
        'cases' => [
            'connect: vhost a slash' => [
                ...$returns('answer', true),
                'databases > 0' => 0,
            ],
            'connect: vhost "/3"' => [
                ...$returns('answer', true),
                'databases > 0' => 3,
            ],
            'connect: vhost that is not a number' => [
                'answer > threw' => 'CeleryException',
            ],
        ],
    ],
    [
        'why' => 'The connector\'s name may be in any case; an unknown one is a CeleryException.',
        'cases' => [
            'connect: connector in capitals' => [
                ...$returns('answer', true),
                'databases > 0' => 0,
            ],
            'connect: connector unknown' => [
                'answer > threw' => 'CeleryException',
            ],
        ],
    ],
    [
        'why' => 'Without a connector it is a RabbitMQ, which is not at the port of a Redis: a connection that fails is a CeleryConnectionException.',
        'cases' => [
            'connect: connector left to choose' => [
                'answer > parents > 0' => 'CeleryException',
                'answer > threw' => 'CeleryConnectionException',
            ],
            'connect: connector null' => [
                'answer > parents > 0' => 'CeleryException',
                'answer > threw' => 'CeleryConnectionException',
            ],
        ],
    ],
    [
        'why' => 'Connection details that are not an array are a CeleryException like every other wrong setting.',
        'cases' => [
            'advanced: not an array' => [
                'threw' => 'CeleryException',
            ],
        ],
    ],
    [
        'why' => 'The extension has no PHP object behind a connection.',
        'cases' => [
            'build: a connection object' => [
                ...$throws('', 'CeleryException'),
            ],
        ],
    ],
    [
        'why' => 'No exchange means the queue "celery", not a queue without a name.',
        'cases' => [
            'connect: exchange null' => [
                'databases > 0' => 0,
            ],
            'queue: exchange and binding that are null' => [
                'posted > 0 > queue' => 'celery',
            ],
            'queue: exchange that is empty' => [
                'posted > 0 > queue' => 'celery',
            ],
        ],
    ],
    [
        'why' => 'A routing key other than the default is the queue.',
        'cases' => [
            'queue: a routing key' => [
                'posted > 0 > queue' => 'mail',
            ],
            'queue: an exchange and a routing key' => [
                'posted > 0 > queue' => 'slow',
            ],
        ],
    ],
    [
        'why' => 'A task\'s name must be text that a worker can have registered.',
        'cases' => [
            'task: an empty name' => [
                ...$throws('answer', 'CeleryException'),
                'posted > 0' => Transcript::ABSENT,
            ],
            'task: a number' => [
                'posted > 0 > task' => '5',
            ],
            'task: null' => [
                ...$throws('answer', 'CeleryException'),
                'posted > 0' => Transcript::ABSENT,
            ],
            'task: an array' => [
                ...$throws('answer', 'CeleryException'),
                'posted > 0' => Transcript::ABSENT,
            ],
            'task: a line feed' => [
                ...$throws('answer', 'CeleryException'),
                'posted > 0' => Transcript::ABSENT,
            ],
        ],
    ],
    [
        'why' => 'An eta that is not a time would only fail in the worker; seconds until expiry become a moment, as in Celery.',
        'cases' => [
            'task_args: eta that is not a time' => [
                ...$throws('answer', 'CeleryException'),
                'posted > 0' => Transcript::ABSENT,
            ],
            'task_args: expires as a number' => [
                'expires' => '<in sixty seconds>',
            ],
        ],
    ],
    [
        'why' => 'Null counts as an omitted argument.',
        'cases' => [
            'task_args: null instead of an array' => [
                ...$returns('answer', ['object' => 'AsyncResult']),
                'posted > 0' => ['queue' => 'celery', 'task' => 'proj.add', 'id' => '<id>', 'args' => [2, 3], 'kwargs' => ['stdClass' => []]],
            ],
        ],
    ],
    [
        'why' => 'An id given in $task_args is the result\'s id.',
        'cases' => [
            'task_args: an id, asked of the result' => [
                'is the given one' => true,
            ],
        ],
    ],
    [
        'why' => 'Ids are UUIDs, which an attacker cannot guess.',
        'cases' => [
            'envelope: form of an id' => [
                'UUID' => true,
            ],
        ],
    ],
    [
        'why' => 'The envelope is the one Celery\'s own producers write.',
        'cases' => [
            'envelope' => [
                'envelope > stdClass > content-encoding' => 'utf-8',
                'envelope > stdClass > properties > stdClass > reply_to' => '<another id>',
                'envelope > stdClass > properties > stdClass > delivery_info > stdClass > priority' => Transcript::ABSENT,
                'envelope > stdClass > properties > stdClass > delivery_info > stdClass > routing_key' => '<queue>',
                'envelope > stdClass > properties > stdClass > delivery_info > stdClass > exchange' => '',
                'envelope > stdClass > properties > stdClass > delivery_tag' => '<another id>',
                'envelope > stdClass > properties > stdClass > correlation_id' => '<id>',
                'envelope > stdClass > properties > stdClass > priority' => 0,
                'keys > 0' => '_kombu.binding.<queue>',
                'keys > 1' => '_kombu.binding_permanent.<queue>',
                'keys > 2' => '<queue>',
            ],
        ],
    ],
    [
        'why' => 'Protocol 2 is the default.',
        'protocol' => 2,
        'cases' => [
            'envelope' => ['envelope > stdClass > headers > array > protocol 2' => true],
        ],
    ],
    [
        'why' => 'A value that JSON cannot express is refused before anything is sent; celery-php posts an empty body, which kills a Python worker.',
        'cases' => [
            'cannot travel: a string of invalid UTF-8' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: a name of invalid UTF-8' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: infinity' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: not a number' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: a resource' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: an enum without values' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: an array within itself' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: an object within itself' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
            'cannot travel: too deep' => [
                ...$throws('answer', 'CeleryException'),
                'answer > warned' => Transcript::ABSENT,
                'posted > 0' => Transcript::ABSENT,
            ],
        ],
    ],
    [
        'why' => 'A result is ready on the call that fetches it, get(0) is one read, and get(null) waits as long as the settings allow.',
        'cases' => [
            'success: every method' => [
                '0 isReady > returned' => true,
            ],
            'success: getStatus first' => [
                '1 isReady > returned' => true,
            ],
            'failure: every method' => [
                '0 isReady > returned' => true,
            ],
            'state: REVOKED' => [
                '0 isReady > returned' => true,
            ],
            'properties: asked first' => [
                'result > 0 > returned' => 5,
                'state > 0 > returned' => 'SUCCESS',
                'status > 0 > returned' => 'SUCCESS',
            ],
            'get: zero, already there' => [
                ...$returns('first', 5),
            ],
            'get: null, already there' => [
                ...$returns('', 5),
            ],
        ],
    ],
    [
        'why' => 'Only a final state ends the wait and is deleted when read; an intermediate state stays, for getAsyncResultMessage().',
        'cases' => [
            'state: STARTED' => [
                ...$throws('2 getStatus', 'CeleryException'),
                ...$throws('3 isSuccess', 'CeleryException'),
                ...$throws('5 getResult', 'CeleryException'),
                '1 isReady > returned' => false,
                '4 failed > returned' => false,
                'property state > returned' => 'PENDING',
                'property result > returned' => null,
                'stored' => true,
            ],
            'state: RETRY' => [
                ...$throws('2 getStatus', 'CeleryException'),
                ...$throws('3 isSuccess', 'CeleryException'),
                ...$throws('5 getResult', 'CeleryException'),
                '1 isReady > returned' => false,
                '4 failed > returned' => false,
                'property state > returned' => 'PENDING',
                'property result > returned' => null,
                'stored' => true,
            ],
            'state: PROGRESS' => [
                ...$throws('2 getStatus', 'CeleryException'),
                ...$throws('3 isSuccess', 'CeleryException'),
                ...$throws('5 getResult', 'CeleryException'),
                '1 isReady > returned' => false,
                '4 failed > returned' => false,
                'property state > returned' => 'PENDING',
                'property result > returned' => null,
                'stored' => true,
            ],
            'state: get() of PROGRESS' => [
                ...$throws('get', 'CeleryTimeoutException', ['CeleryException'], 4),
                'stored' => true,
            ],
            'state: from PROGRESS to SUCCESS' => [
                'get > returned' => 9,
                'state > returned' => 'SUCCESS',
            ],
            'message: custom state' => [
                'stored' => true,
            ],
        ],
    ],
    [
        'why' => 'Python writes NaN, which JSON does not have: it is read as null. celery-php deletes the result and waits without limit.',
        'cases' => [
            'value: not a number, as Python writes it' => [
                ...$returns('get', null),
            ],
        ],
    ],
    [
        'why' => 'A document that is not a result is refused at once, and stays in Redis; celery-php deletes it unread.',
        'cases' => [
            'document: no JSON' => [
                'get > threw' => 'CeleryException',
                'get > parents > 0' => Transcript::ABSENT,
                'get > code' => 0,
                'stored' => true,
            ],
            'document: empty' => [
                'get > threw' => 'CeleryException',
                'get > parents > 0' => Transcript::ABSENT,
                'get > code' => 0,
            ],
            'document: an empty object' => [
                'get > threw' => 'CeleryException',
                'get > parents > 0' => Transcript::ABSENT,
                'get > code' => 0,
                'stored' => true,
            ],
            'document: a number' => [
                ...$throws('get', 'CeleryException'),
                'get > warned' => Transcript::ABSENT,
                'stored' => true,
            ],
            'document: a list' => [
                ...$throws('get', 'CeleryException'),
                'get > warned' => Transcript::ABSENT,
                'stored' => true,
            ],
            'document: no status' => [
                ...$throws('get', 'CeleryException'),
                'stored' => true,
            ],
            'message: no JSON' => [
                ...$throws('answer', 'CeleryException'),
                'stored' => true,
            ],
        ],
    ],
    [
        'why' => 'A field that the worker omitted is null without a warning.',
        'cases' => [
            'document: no result' => [
                'get > warned' => Transcript::ABSENT,
            ],
            'success: no traceback in the document' => [
                'traceback > warned' => Transcript::ABSENT,
            ],
        ],
    ],
    [
        'why' => 'forget() works.',
        'cases' => [
            'forget' => [
                'stored' => false,
            ],
        ],
    ],
    [
        'why' => 'Secrets are never shown.',
        'cases' => [
            'serialize: the secret' => [
                'in the string' => false,
            ],
            'client: shown' => [
                'the secret is in print_r' => false,
            ],
        ],
    ],
    [
        'why' => 'A value comes back as json_decode gives it; celery-php decodes, encodes and decodes again, which makes {} a list and 5.0 an integer.',
        'cases' => [
            'value: float without a fraction' => [
                'get > returned' => ['float' => '5.0'],
                'getResult > returned' => ['float' => '5.0'],
                'property > returned' => ['float' => '5.0'],
            ],
            'value: empty object' => [
                'get > returned' => ['stdClass' => []],
                'getResult > returned' => ['stdClass' => []],
                'property > returned' => ['stdClass' => []],
            ],
            'value: object with empty object' => [
                'get > returned > stdClass > a' => ['stdClass' => []],
                'getResult > returned > stdClass > a' => ['stdClass' => []],
                'property > returned > stdClass > a' => ['stdClass' => []],
            ],
            'value: object with numbers as names' => [
                'get > returned' => ['stdClass' => ['a', 'b']],
                'getResult > returned' => ['stdClass' => ['a', 'b']],
                'property > returned' => ['stdClass' => ['a', 'b']],
            ],
            'message: empty objects' => [
                'body > stdClass > result' => ['stdClass' => []],
            ],
        ],
    ],
    [
        'why' => 'The extension writes and reads the string of a serialized result.',
        'cases' => [
            'shape: AsyncResult' => [
                'methods > __wakeup' => null,
            ],
            '3.0 shape: Celery\\AsyncResult' => [
                'methods > __wakeup' => null,
            ],
        ],
    ],
    [
        'why' => 'An object whose constructor did not call its parent reports that.',
        'cases' => [
            'extend: a constructor that forgets its parent' => [
                'threw' => 'CeleryException',
            ],
        ],
    ],
    [
        'why' => 'Where the two APIs agree, they are one class under two names, and the class has the older name.',
        'cases' => [
            '3.0 shape: Celery\\CeleryAbstract' => [
                'methods > PostTask > parameters > 4 > name' => 'task_args',
            ],
            '3.0 shape: Celery\\Celery' => [
                'parents > 0' => 'CeleryAbstract',
                ...$behindUrl,
            ],
            '3.0 shape: Celery\\CeleryAdvanced' => [
                'parents > 0' => 'CeleryAdvanced',
                'parents > 1' => 'CeleryAbstract',
            ],
            '3.0 shape: Celery\\CeleryConnectionException' => [
                'parents > 0' => 'CeleryException',
            ],
            '3.0 shape: Celery\\CeleryTimeoutException' => [
                'parents > 0' => 'CeleryException',
            ],
            '3.0 shape: Celery\\CeleryPublishException' => [
                'parents > 0' => 'CeleryException',
            ],
            '3.0: not args' => [
                'threw' => 'CeleryException',
            ],
            '3.0: nothing there' => [
                'threw' => 'CeleryTimeoutException',
                'parents > 0' => 'CeleryException',
            ],
            '3.0: too early' => [
                'threw' => 'CeleryException',
            ],
        ],
    ],
];
