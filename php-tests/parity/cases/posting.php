<?php

/** PostTask: its answer, where the message arrives, and what the message asks for. */

declare(strict_types=1);

use CeleryParity\Lab;

$post = fn (mixed ...$arguments) => fn (Lab $lab) => $lab->post(fn () => $lab->client()->PostTask(...$arguments));
$with = fn (array $taskArgs) => $post('proj.add', [2, 3], true, 'celery', $taskArgs);
$at = '2030-01-02T03:04:05+00:00';

return [
    'post: a task' => $post('proj.add', [2, 3]),
    'post: answer when no result is wanted' => $post('proj.add', [2, 3], false),
    'post: no result, by other false values' => fn (Lab $lab) => array_map(
        fn (mixed $value) => $lab->answer(fn () => is_object($lab->client()->PostTask('proj.add', [2, 3], $value))),
        [0, '', null, [], 1, 'yes'],
    ),
    'post: by names of arguments' => fn (Lab $lab) => $lab->post(
        fn () => $lab->client()->PostTask(args: [2, 3], task: 'proj.add', async_result: false),
    ),
    'post: names of arguments with one left out' => fn (Lab $lab) => $lab->post(
        fn () => $lab->client()->PostTask('proj.add', [2, 3], task_args: ['retries' => 1]),
    ),
    'post: too few arguments' => $post('proj.add'),
    'post: method names are not case sensitive' => fn (Lab $lab) => $lab->post(fn () => $lab->client()->postTask('proj.add', [2, 3], false)),
    'post: ids differ' => function (Lab $lab): array {
        $client = $lab->client();
        $ids = array_map(fn () => $client->PostTask('proj.add', [2, 3])->getId(), range(1, 50));

        return ['strings' => array_filter($ids, 'is_string') === $ids, 'different' => count(array_unique($ids))];
    },
    'post: order of a queue' => function (Lab $lab): array {
        $client = $lab->client();
        foreach (['a', 'b', 'c'] as $letter) {
            $lab->known($client->PostTask('proj.echo', [$letter]), "<$letter>");
        }

        return $lab->posted();
    },

    'task: an empty name' => $post('', [2, 3]),
    'task: a number' => $post(5, [2, 3]),
    'task: null' => $post(null, [2, 3]),
    'task: an array' => $post(['proj.add'], [2, 3]),
    'task: not ASCII' => $post('proj.añadir', [2, 3]),
    'task: a line feed' => $post("proj.add\n", [2, 3]),

    'queue: a routing key' => $post('proj.add', [2, 3], true, 'mail'),
    'queue: a routing key that is null' => $post('proj.add', [2, 3], true, null),
    'queue: a routing key that is empty' => $post('proj.add', [2, 3], true, ''),
    'queue: an exchange' => fn (Lab $lab) => $lab->post(fn () => $lab->client(['exchange' => 'mail'])->PostTask('proj.add', [2, 3])),
    'queue: an exchange and a routing key' => fn (Lab $lab) => $lab->post(
        fn () => $lab->client(['exchange' => 'mail'])->PostTask('proj.add', [2, 3], true, 'slow'),
    ),
    'queue: an exchange and the usual routing key' => fn (Lab $lab) => $lab->post(
        fn () => $lab->client(['exchange' => 'mail'])->PostTask('proj.add', [2, 3], true, 'celery'),
    ),
    'queue: a binding' => fn (Lab $lab) => $lab->post(fn () => $lab->client(['binding' => 'mail'])->PostTask('proj.add', [2, 3])),
    'queue: exchange and binding that are null' => fn (Lab $lab) => $lab->post(
        fn () => $lab->client(['exchange' => null, 'binding' => null])->PostTask('proj.add', [2, 3]),
    ),
    'queue: exchange that is empty' => fn (Lab $lab) => $lab->post(fn () => $lab->client(['exchange' => ''])->PostTask('proj.add', [2, 3])),

    'task_args: eta' => $with(['eta' => $at]),
    'task_args: eta and expires' => $with(['eta' => $at, 'expires' => '2030-02-02T03:04:05+00:00']),
    'task_args: eta of another form' => $with(['eta' => '2030-01-02T03:04:05']),
    'task_args: eta that is not a time' => $with(['eta' => 'tomorrow']),
    'task_args: expires as a number' => function (Lab $lab): array {
        $before = time();
        $lab->client()->PostTask('proj.add', [2, 3], true, 'celery', ['expires' => 60]);
        $after = time();
        $expires = $lab->posted()[0]['expires'];
        $moment = is_string($expires) ? strtotime($expires) : 0;

        return ['expires' => $before + 60 <= $moment && $moment <= $after + 60 ? '<in sixty seconds>' : $expires];
    },
    'task_args: retries' => $with(['retries' => 2]),
    'task_args: timelimit' => $with(['timelimit' => [30, 20]]),
    'task_args: callbacks and errbacks' => $with([
        'callbacks' => [['task' => 'proj.add', 'args' => [1], 'kwargs' => new stdClass(), 'options' => new stdClass(), 'subtask_type' => null, 'immutable' => false]],
        'errbacks' => [['task' => 'proj.fail', 'args' => [], 'kwargs' => new stdClass(), 'options' => new stdClass(), 'subtask_type' => null, 'immutable' => true]],
    ]),
    'task_args: chord' => $with(['chord' => ['task' => 'proj.add', 'args' => [], 'kwargs' => new stdClass(), 'options' => new stdClass(), 'subtask_type' => null, 'immutable' => false]]),
    'task_args: utc' => $with(['utc' => true, 'eta' => $at]),
    'task_args: unknown fields' => $with(['tenant' => 'blue']),
    'task_args: nulls' => $with(['eta' => null, 'expires' => null, 'callbacks' => null, 'errbacks' => null]),
    'task_args: another task' => $with(['task' => 'proj.mul']),
    'task_args: other args' => $with(['args' => [7, 8]]),
    'task_args: other kwargs' => $with(['kwargs' => ['x' => 7]]),
    'task_args: kwargs as an empty object' => $with(['kwargs' => new stdClass()]),
    'task_args: null instead of an array' => fn (Lab $lab) => $lab->post(fn () => $lab->client()->PostTask('proj.add', [2, 3], true, 'celery', null)),
    'task_args: a list' => $with(['surprise']),
    'task_args: an id' => function (Lab $lab): array {
        $lab->observation->name('my-own-id', '<given>');

        return $lab->post(fn () => $lab->client()->PostTask('proj.add', [2, 3], true, 'celery', ['id' => 'my-own-id']));
    },
    'task_args: an id, asked of the result' => function (Lab $lab): array {
        $result = $lab->client()->PostTask('proj.add', [2, 3], true, 'celery', ['id' => 'my-own-id']);

        return ['is the given one' => $result->getId() === 'my-own-id'];
    },

    'envelope' => function (Lab $lab): array {
        // A queue that no case has used before: the extension declares a queue once on each
        // connection.
        $queue = uniqid('envelopes-');
        $lab->observation->name($queue, '<queue>');
        $result = $lab->result($lab->client(['exchange' => $queue]));
        $envelope = $lab->envelopes()[$queue][0];
        $is = fn (mixed $value) => is_string($value) && $value !== '' && $value !== $result->getId() ? '<another id>' : $lab->observation->value($value);
        $envelope->properties->delivery_tag = $is($envelope->properties->delivery_tag);
        $envelope->properties->reply_to = $is($envelope->properties->reply_to);
        $envelope->properties->correlation_id = $lab->observation->value($envelope->properties->correlation_id ?? null);
        $envelope->headers = ['protocol 2' => isset($envelope->headers->task)];
        unset($envelope->body);
        $keys = $lab->redis->command('KEYS', '*');
        sort($keys);

        return ['envelope' => $lab->observation->value($envelope), 'keys' => $lab->observation->value($keys)];
    },
    'envelope: persistent messages' => function (Lab $lab): array {
        $lab->client(['persistent_messages' => true])->PostTask('proj.add', [2, 3]);

        return ['delivery_mode' => $lab->envelopes()['celery'][0]->properties->delivery_mode];
    },
    'envelope: form of an id' => function (Lab $lab): array {
        $id = $lab->client()->PostTask('proj.add', [2, 3])->getId();

        return ['UUID' => preg_match('/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/', $id) === 1];
    },
];
