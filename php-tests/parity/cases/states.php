<?php

/** States that are not final, and getAsyncResultMessage(), celery-php's way to read them. */

declare(strict_types=1);

use CeleryParity\Lab;

$calls = ['isReady', 'isReady', 'getStatus', 'isSuccess', 'failed', 'getResult'];

/** Returns the answers of a result while its task is in $state. */
$during = fn (string $state, mixed $meta) => function (Lab $lab) use ($state, $meta, $calls): array {
    $result = $lab->result();
    $lab->store($result->getId(), ['status' => $state, 'result' => $meta]);
    $seen = [];
    foreach ($calls as $number => $call) {
        $seen["$number $call"] = $lab->answer(fn () => $result->$call());
    }
    $seen['property state'] = $lab->answer(fn () => $result->state);
    $seen['property result'] = $lab->answer(fn () => $result->result);

    return $seen + ['stored' => $lab->stored($result->getId())];
};

$retry = ['exc_type' => 'ConnectionError', 'exc_message' => ['down'], 'exc_module' => 'builtins'];

/** Reads a stored document with getAsyncResultMessage(), with the arguments after the first two. */
$message = fn (array|string|null $document, mixed ...$more) => function (Lab $lab) use ($document, $more): array {
    $client = $lab->client();
    $result = $lab->result($client);
    if ($document !== null) {
        $lab->store($result->getId(), $document);
    }
    $answer = null;
    $seen = $lab->answer(function () use ($client, $result, $more, &$answer) {
        $answer = $client->getAsyncResultMessage('proj.add', $result->getId(), ...$more);

        return is_array($answer) ? array_keys($answer) : $answer;
    });

    return [
        'answer' => $seen,
        'complete_result' => $lab->observation->value($answer['complete_result'] ?? null),
        'body' => isset($answer['body']) ? $lab->observation->value(json_decode($answer['body'])) : null,
        'stored' => $lab->stored($result->getId()),
    ];
};

return [
    'state: STARTED' => $during('STARTED', ['pid' => 7, 'hostname' => 'celery@host']),
    'state: RETRY' => $during('RETRY', $retry),
    'state: PROGRESS' => $during('PROGRESS', ['done' => 3, 'of' => 9]),
    'state: REVOKED' => $during('REVOKED', ['exc_type' => 'TaskRevokedError', 'exc_message' => ['revoked'], 'exc_module' => 'celery.exceptions']),
    'state: get() of PROGRESS' => function (Lab $lab): array {
        $result = $lab->result();
        $lab->store($result->getId(), ['status' => 'PROGRESS', 'result' => ['done' => 3]]);

        return ['get' => $lab->answer(fn () => $result->get(0.1, true, 0.01)), 'stored' => $lab->stored($result->getId())];
    },
    'state: from PROGRESS to SUCCESS' => function (Lab $lab): array {
        $result = $lab->result();
        $lab->store($result->getId(), ['status' => 'PROGRESS', 'result' => ['done' => 3]]);
        $before = $lab->answer(fn () => $result->state);
        $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 9]);

        return ['before' => $before, 'get' => $lab->answer(fn () => $result->get(0.2, true, 0.01)), 'state' => $lab->answer(fn () => $result->state)];
    },

    'message: nothing there' => $message(null),
    'message: success' => $message(['status' => 'SUCCESS', 'result' => ['a' => [1, 2.5, null]]]),
    'message: success, kept' => $message(['status' => 'SUCCESS', 'result' => 5], null, false),
    'message: success, with arguments' => $message(['status' => 'SUCCESS', 'result' => 5], [2, 3], true),
    'message: failure' => $message(['status' => 'FAILURE', 'result' => $retry, 'traceback' => 'Traceback']),
    'message: custom state' => $message(['status' => 'PROGRESS', 'result' => ['done' => 3]]),
    'message: custom state, kept' => $message(['status' => 'PROGRESS', 'result' => ['done' => 3]], null, false),
    'message: no JSON' => $message('not json'),
    'message: empty objects' => $message(['status' => 'SUCCESS', 'result' => new stdClass()]),
    'message: twice' => function (Lab $lab): array {
        $client = $lab->client();
        $result = $lab->result($client);
        $lab->store($result->getId(), ['status' => 'SUCCESS', 'result' => 5]);
        $first = $client->getAsyncResultMessage('proj.add', $result->getId());

        return ['first' => is_array($first), 'second' => $lab->answer(fn () => $client->getAsyncResultMessage('proj.add', $result->getId()))];
    },
];
