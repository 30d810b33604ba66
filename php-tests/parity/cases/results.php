<?php

/**
 * Final results: every way to ask for them, in the order of the calls, and what Redis holds
 * afterwards.
 */

declare(strict_types=1);

use CeleryParity\Lab;

/**
 * Stores a SUCCESS with $value and asks in all ways; isReady()'s first answer `false` is part of
 * the record.
 */
$success = fn (mixed $value) => function (Lab $lab) use ($value): array {
    $result = $lab->result();
    $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => $value]);

    return [
        'get' => $lab->answer(fn () => $result->get(5, true, 0.01)),
        'getResult' => $lab->answer(fn () => $result->getResult()),
        'property' => $lab->answer(fn () => $result->result),
        'stored' => $lab->stored($result->getId()),
    ];
};

/** Like $success, for text that json_encode would never write. */
$text = fn (string $document) => function (Lab $lab) use ($document): array {
    $result = $lab->result();
    $lab->store($result->getId(), $document);

    return ['get' => $lab->answer(fn () => $result->get(0.2, true, 0.01)), 'stored' => $lab->stored($result->getId())];
};

$failure = [
    'status' => 'FAILURE',
    'result' => ['exc_type' => 'ValueError', 'exc_message' => ['no such row', 5], 'exc_module' => 'builtins'],
    'traceback' => "Traceback (most recent call last):\n  File \"tasks.py\", line 3, in fail\nValueError: no such row\n",
];

/** Calls each of $methods on a result whose document is stored before the first. */
$ask = fn (array $document, array $calls) => function (Lab $lab) use ($document, $calls): array {
    $result = $lab->result();
    $lab->store($result->getId(), $document);
    $seen = [];
    foreach ($calls as $number => $call) {
        $seen["$number $call"] = $lab->answer(fn () => $result->$call());
    }

    return $seen + ['stored' => $lab->stored($result->getId())];
};

$five = ['status' => 'SUCCESS', 'result' => 5];
$everything = ['isReady', 'isReady', 'ready', 'getStatus', 'isSuccess', 'successful', 'failed', 'getTraceback', 'getResult', 'get', 'wait'];

return [
    'value: integer' => $success(5),
    'value: zero' => $success(0),
    'value: large integer' => $success(PHP_INT_MAX),
    'value: float' => $success(2.5),
    'value: float without a fraction' => $success(5.0),
    'value: string' => $success('héllo/wörld'),
    'value: empty string' => $success(''),
    'value: true' => $success(true),
    'value: false' => $success(false),
    'value: null' => $success(null),
    'value: list' => $success([1, 'two', 3.5, null, true]),
    'value: empty list' => $success([]),
    'value: object' => $success(['a' => 1, 'b' => ['c' => [1, 2]]]),
    'value: empty object' => $success(new stdClass()),
    'value: list of objects' => $success([['a' => 1], ['a' => 2]]),
    'value: object with empty object' => $success(['a' => new stdClass(), 'b' => []]),
    'value: object with numbers as names' => $success((object) ['0' => 'a', '1' => 'b']),
    'value: object with an empty name' => $success((object) ['' => 1]),
    'value: integer beyond 64 bits' => $text('{"status": "SUCCESS", "result": 12345678901234567890123, "traceback": null, "task_id": "x"}'),
    'value: float of many digits' => $text('{"status": "SUCCESS", "result": 0.30000000000000004, "traceback": null, "task_id": "x"}'),
    'value: escaped characters' => $text('{"status": "SUCCESS", "result": "\u00fc \ud83d\ude00 \u0000", "traceback": null, "task_id": "x"}'),
    'value: a special type' => $text('{"status": "SUCCESS", "result": {"__type__": "datetime", "__value__": "2026-11-22T07:40:20"}, "traceback": null, "task_id": "x"}'),
    'value: not a number, as Python writes it' => $text('{"status": "SUCCESS", "result": NaN, "traceback": null, "task_id": "x"}'),
    'document: no JSON' => $text('not json'),
    'document: empty' => $text(''),
    'document: an empty object' => $text('{}'),
    'document: a number' => $text('5'),
    'document: a list' => $text('[1, 2]'),
    'document: no id' => $text('{"status": "SUCCESS", "result": 5, "traceback": null}'),
    'document: no status' => $text('{"result": 5, "task_id": "x"}'),
    'document: no result' => $text('{"status": "SUCCESS", "traceback": null, "task_id": "x"}'),

    'before: every method' => function (Lab $lab) use ($everything): array {
        $result = $lab->result();
        $seen = [];
        foreach (array_diff($everything, ['get', 'wait']) as $number => $call) {
            $seen["$number $call"] = $lab->answer(fn () => $result->$call(), [$call]);
        }
        foreach (['result', 'state', 'status'] as $property) {
            $seen["property $property"] = $lab->answer(fn () => $result->$property);
            $seen["isset $property"] = $lab->answer(fn () => isset($result->$property));
        }

        return $seen;
    },
    'success: every method' => $ask($five, $everything),
    'success: get first' => $ask($five, ['get', 'getStatus', 'getResult', 'failed', 'isReady']),
    'success: wait first' => $ask($five, ['wait', 'isSuccess']),
    'success: getStatus first' => $ask($five, ['getStatus', 'isReady']),
    'success: successful first' => $ask($five, ['successful']),
    'success: failed first' => $ask($five, ['failed', 'failed']),
    'success: getResult first' => $ask($five, ['getResult', 'getTraceback']),
    'failure: every method' => $ask($failure, $everything),
    'failure: get first' => $ask($failure, ['get', 'getTraceback', 'failed', 'successful']),
    'failure: not propagated' => function (Lab $lab) use ($failure): array {
        $result = $lab->result();
        $lab->store($result->getId(), $failure);

        return $lab->answer(fn () => $result->get(5, false, 0.01));
    },
    'failure: of a plain form' => $ask(['status' => 'FAILURE', 'result' => 'boom', 'traceback' => null], ['get', 'getTraceback', 'failed']),
    'success: no traceback in the document' => function (Lab $lab): array {
        $result = $lab->result();
        $lab->store($result->getId(), '{"status": "SUCCESS", "result": 5, "task_id": "x"}');

        return ['get' => $lab->answer(fn () => $result->get(5, true, 0.01)), 'traceback' => $lab->answer(fn () => $result->getTraceback())];
    },

    'properties: after success' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);
        $result->get(5, true, 0.01);
        $seen = [];
        foreach (['result', 'state', 'status'] as $property) {
            $seen[$property] = $lab->answer(fn () => $result->$property);
            $seen["isset $property"] = $lab->answer(fn () => isset($result->$property));
        }

        return $seen;
    },
    'properties: asked first' => function (Lab $lab) use ($five): array {
        $seen = [];
        foreach (['result', 'state', 'status'] as $property) {
            $result = $lab->result();
            $lab->store($result->getId(), $five);
            $seen[$property] = [$lab->answer(fn () => $result->$property), $lab->answer(fn () => $result->$property)];
        }

        return $seen;
    },
    'properties: that hold what it was made of' => function (Lab $lab): array {
        $result = $lab->result();

        return [
            'task_id' => $lab->answer(fn () => $result->task_id),
            'task_name' => $lab->answer(fn () => $result->task_name),
            'task_args' => $lab->answer(fn () => $result->task_args),
            'task_args by name' => $lab->answer(fn () => $lab->client()->PostTask('proj.add', ['x' => 1])->task_args),
        ];
    },
    'properties: that hold what was read' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $before = [$lab->answer(fn () => $result->body), $lab->answer(fn () => $result->complete_result)];
        $lab->store($result->getId(), $five);
        $result->get(5, true, 0.01);

        return ['before' => $before, 'after' => [$lab->answer(fn () => $result->body), $lab->answer(fn () => $result->complete_result)]];
    },
    'properties: unknown' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->colour),
    'properties: set by the caller' => function (Lab $lab): array {
        $result = $lab->result();

        return $lab->answer(function () use ($result) {
            $result->note = 'mine';

            return $result->note;
        });
    },

    'consumed: another result of the same id' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);
        $other = new AsyncResult($result->getId(), $lab->details(), 'proj.add', [2, 3]);
        $first = $lab->answer(fn () => $result->get(5, true, 0.01));

        return ['first' => $first, 'other' => $lab->answer(fn () => $other->get(0.1, true, 0.01)), 'first again' => $lab->answer(fn () => $result->get())];
    },
    'consumed: the first result is kept by its object' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);
        $result->get(5, true, 0.01);
        $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 6]);

        return ['again' => $lab->answer(fn () => $result->get()), 'stored' => $lab->stored($result->getId())];
    },

    'get: nothing there' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->get(0.1, true, 0.01), ['proj.add', '[2,3]']),
    'get: nothing there, the message counts seconds' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->get(1, true, 0.1), ['proj.add', '[2,3]', '1 second']),
    'get: nothing there, arguments by name' => fn (Lab $lab) => $lab->answer(
        fn () => $lab->client()->PostTask('proj.add', ['x' => 2])->get(0.1, true, 0.01),
        ['proj.add', '(', 'x'],
    ),
    'wait: nothing there' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->wait(0.1, true, 0.01), ['proj.add', '[2,3]']),
    'get: zero, nothing there' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->get(0)),
    'get: less than zero' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->get(-1)),
    'get: zero, already there' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);

        return ['first' => $lab->answer(fn () => $result->get(0)), 'second' => $lab->answer(fn () => $result->get(0))];
    },
    'get: null, already there' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);

        return $lab->answer(fn () => $result->get(null));
    },
    'get: seconds as a string' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);

        return $lab->answer(fn () => $result->get('5', true, '0.01'));
    },
    'get: by names of arguments' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);

        return $lab->answer(fn () => $result->get(interval: 0.01, timeout: 5));
    },

    'forget' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $lab->store($result->getId(), $five);

        return ['answer' => $lab->answer(fn () => $result->forget()), 'stored' => $lab->stored($result->getId())];
    },
    'revoke' => fn (Lab $lab) => $lab->answer(fn () => $lab->result()->revoke()),

    'made by hand' => function (Lab $lab) use ($five): array {
        $lab->store('by-hand', $five);
        $result = new AsyncResult('by-hand', $lab->details());

        return [
            'id' => $lab->answer(fn () => $result->getId()),
            'get' => $lab->answer(fn () => $result->get(5, true, 0.01)),
            'late' => $lab->answer(fn () => (new AsyncResult('never', $lab->details()))->get(0.1, true, 0.01)),
        ];
    },
    'made by hand: few keys' => function (Lab $lab) use ($five): array {
        $lab->store('by-hand', $five);
        $details = ['host' => '127.0.0.1', 'port' => $lab->redis->port, 'connector' => 'redis', 'vhost' => 0];

        return $lab->answer(fn () => (new AsyncResult('by-hand', $details))->getId());
    },

    'serialize: before it is ready' => function (Lab $lab) use ($five): array {
        $client = $lab->client();
        $result = $lab->result($client);
        $copy = unserialize(serialize($result));
        $lab->store($result->getId(), $five);

        return [
            'class' => get_class($copy),
            'id' => $lab->answer(fn () => $copy->getId()),
            'get' => $lab->answer(fn () => $copy->get(5, true, 0.01)),
            'stored' => $lab->stored($result->getId()),
        ];
    },
    'serialize: after it is ready' => function (Lab $lab) use ($failure): array {
        $client = $lab->client();
        $result = $lab->result($client);
        $lab->store($result->getId(), $failure);
        $result->get(5, true, 0.01);
        $copy = unserialize(serialize($result));

        return [
            'id' => $lab->answer(fn () => $copy->getId()),
            'ready' => $lab->answer(fn () => $copy->isReady()),
            'status' => $lab->answer(fn () => $copy->getStatus()),
            'result' => $lab->answer(fn () => $copy->getResult()),
            'traceback' => $lab->answer(fn () => $copy->getTraceback()),
        ];
    },
    'serialize: what a time-out names afterwards' => function (Lab $lab): array {
        $client = $lab->client();
        $copy = unserialize(serialize($lab->result($client)));

        return $lab->answer(fn () => $copy->get(0.1, true, 0.01), ['proj.add', '2']);
    },
    'serialize: the secret' => function (Lab $lab): array {
        $lab->redis->command('CONFIG', 'SET', 'requirepass', 'hush-hush');
        try {
            $text = serialize($lab->result($lab->client(['password' => 'hush-hush'])));
        } finally {
            $lab->redis->command('CONFIG', 'SET', 'requirepass', '');
        }

        return ['in the string' => str_contains($text, 'hush-hush')];
    },
    'clone' => function (Lab $lab) use ($five): array {
        $result = $lab->result();
        $copy = clone $result;
        $lab->store($result->getId(), $five);

        return [
            'id' => $lab->answer(fn () => $copy->getId()),
            'get' => $lab->answer(fn () => $copy->get(5, true, 0.01)),
            'original' => $lab->answer(fn () => $result->get(0.1, true, 0.01)),
        ];
    },
];
