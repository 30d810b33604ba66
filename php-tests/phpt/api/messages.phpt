--TEST--
Messages of sendTask() and applyAsync() equal those that Python Celery sends, field for field
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, Value};

const FIXTURES = __DIR__ . '/../../../crates/protocol/tests/fixtures/messages-v2/redis';

/** Returns the only message in a fixture, and its list. */
function captured(string $name): array
{
    $fixture = json_decode(file_get_contents(FIXTURES . "/$name.json"), true, 512, JSON_THROW_ON_ERROR);
    foreach ($fixture['redis_keys'] as $list => $key) {
        if ($key['type'] === 'list') {
            return [json_decode($key['items_head_to_tail'][0], false, 512, JSON_THROW_ON_ERROR), $list];
        }
    }
    throw new LogicException("$name has no message");
}

/** Returns a message without what differs from one to the next. */
function comparable(object $message, string $queue): array
{
    $headers = (array) $message->headers;
    $properties = (array) $message->properties;
    $id = $headers['id'];
    $custom = !preg_match('/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/', $id) || $id === '11111111-2222-3333-4444-555555555555';
    foreach (['lang', 'origin'] as $name) {
        $headers[$name] = gettype($headers[$name]);
    }
    if (!$custom) {
        $headers['root_id'] = $headers['root_id'] === $id ? '(id)' : $headers['root_id'];
        $properties['correlation_id'] = $properties['correlation_id'] === $id ? '(id)' : $properties['correlation_id'];
        $headers['id'] = '(id)';
    }
    // Python's delay() knows the task's default; null leaves the choice to the worker.
    $headers['ignore_result'] = $headers['ignore_result'] ?: null;
    foreach (['eta', 'expires'] as $name) {
        // A time near now was relative. Only its form is compared.
        if ($headers[$name] !== null && !str_starts_with($headers[$name], '2030')) {
            $headers[$name] = preg_replace(['/\d/', '/\.9{6}/'], ['9', ''], $headers[$name]);
        }
    }
    if (isset($properties['expiration'])) {
        $properties['expiration'] = gettype($properties['expiration']);
    }
    $properties['delivery_tag'] = gettype($properties['delivery_tag']);
    if (preg_match('/^[0-9a-f-]{36}$/', $properties['reply_to'])) {
        $properties['reply_to'] = '(uuid)';
    }
    $properties['delivery_info'] = (array) $properties['delivery_info'];
    if ($properties['delivery_info']['routing_key'] === $queue) {
        $properties['delivery_info']['routing_key'] = '(queue)';
    }
    $body = base64_decode($message->body, true);
    $compression = $headers['compression'] ?? null;
    if ($compression === 'application/x-gzip') {
        $body = gzuncompress($body);
    }
    if ($compression !== null && $compression !== 'application/x-gzip') {
        $body = $body === '' ? 'empty' : 'compressed';
    } elseif ($message->{'content-type'} === 'application/json') {
        $body = json_decode($body, false, 512, JSON_THROW_ON_ERROR);
    } elseif ($message->{'content-type'} === 'application/x-yaml') {
        // PHP has no reader of YAML. The worker's tests read what is written here.
        $body = 'yaml';
    } else {
        $body = bin2hex($body);
    }
    ksort($headers);
    ksort($properties);

    return [
        'headers' => $headers, 'properties' => $properties, 'body' => $body,
        'content-type' => $message->{'content-type'}, 'content-encoding' => $message->{'content-encoding'},
    ];
}

$queue = fresh();
$client = new Client(redis_url(), queue: $queue);
[$add, $echo, $mul] = array_map($client->signature(...), ['proj.add', 'proj.echo', 'proj.mul']);
[$errback, $old] = array_map($client->signature(...), ['proj.errback', 'proj.errback_old']);
$utc = fn (string $time) => new DateTimeImmutable($time, new DateTimeZone('UTC'));
$cases = [
    'args' => fn () => $add->applyAsync([2, 3]),
    'args_kwargs' => fn () => $echo->applyAsync([1, 'two'], ['three' => 3.0, 'n' => null, 'b' => true]),
    'argsrepr_kwargsrepr' => fn () => $add->applyAsync([2, 3], argsrepr: '(***)', kwargsrepr: '{***}'),
    'compression_bzip2' => fn () => $add->applyAsync([2, 3], compression: 'bzip2'),
    'compression_gzip' => fn () => $add->applyAsync([2, 3], compression: Celery\Compression::Gzip),
    'compression_lzma' => fn () => $add->applyAsync([2, 3], compression: 'lzma'),
    'compression_zlib' => fn () => $add->applyAsync([2, 3], compression: 'zlib'),
    'compression_zstd' => fn () => $add->applyAsync([2, 3], compression: 'zstd'),
    'countdown' => fn () => $add->applyAsync([2, 3], countdown: 10),
    'countdown_float' => fn () => $add->applyAsync([2, 3], countdown: 1.5),
    'delay' => fn () => $add->delay(2, 3),
    'delivery_mode_transient' => fn () => $add->applyAsync([2, 3], persistent: false),
    'eta_aware_offset' => fn () => $add->applyAsync([2, 3], eta: new DateTime('2030-01-02T03:04:05+02:00')),
    'eta_aware_utc' => fn () => $add->applyAsync([2, 3], eta: $utc('2030-01-02T03:04:05.678901')),
    'exchange_direct' => fn () => $add->applyAsync([2, 3], exchange: 'dx', routingKey: 'direct_q'),
    'expires_datetime' => fn () => $add->applyAsync([2, 3], expires: $utc('2030-01-02T03:04:05')),
    'expires_seconds' => fn () => $add->applyAsync([2, 3], expires: 60),
    'group_ids' => fn () => $add->applyAsync([2, 3], groupId: 'g-1', groupIndex: 4),
    'headers_custom' => fn () => $add->applyAsync([2, 3], headers: ['x-tenant' => 'acme', 'n' => 5]),
    'ignore_result' => fn () => $add->applyAsync([2, 3], ignoreResult: true),
    'keyprefix_prio_steps_sep' => fn () => (new Client(redis_url() . '?priority_steps=0,1,2,3,4,5,6,7,8,9&sep=:', keyPrefix: 'myapp:'))->sendTask('proj.add', [2, 3], priority: 7, queue: $queue),
    'kwargs' => fn () => $add->applyAsync(kwargs: ['x' => 2, 'y' => 3]),
    'link' => fn () => $add->applyAsync([2, 3], link: $mul->s(10)),
    'link_and_link_error' => fn () => $add->applyAsync([2, 3], link: $mul->s(10), linkError: [$errback, $old->si('x')]),
    'link_error' => fn () => $add->applyAsync([2, 3], linkError: $errback),
    'link_list' => fn () => $add->applyAsync([2, 3], link: [$mul->s(10), $mul->s(20)->set(queue: 'hipri')]),
    'long_argsrepr' => fn () => $echo->delay(str_repeat('x', 2000)),
    'priority_0' => fn () => $add->applyAsync([2, 3], priority: 0),
    'priority_4' => fn () => $add->applyAsync([2, 3], priority: 4),
    'priority_9' => fn () => $add->applyAsync([2, 3], priority: 9),
    'queue' => fn () => $add->applyAsync([2, 3], queue: $queue),
    'queue_and_routing_key' => fn () => $add->applyAsync([2, 3], queue: $queue, routingKey: 'some.key'),
    'reply_to' => fn () => $add->applyAsync([2, 3], replyTo: 'my-reply-queue'),
    'retries' => fn () => $add->applyAsync([2, 3], retries: 2),
    'root_parent' => fn () => $add->applyAsync([2, 3], rootId: 'root-1', parentId: 'parent-1'),
    'routing_key_only' => fn () => $add->applyAsync([2, 3], routingKey: 'some.key'),
    'send_task' => fn () => $client->sendTask('other.task', [1], ['a' => 1]),
    'serializer_msgpack' => fn () => $echo->applyAsync([2, 'héllo', [1, null]], ['k' => ['a' => 1.5]], serializer: 'msgpack'),
    'serializer_yaml' => fn () => $echo->applyAsync([2, 'héllo', [1, null]], ['k' => ['a' => 1.5]], serializer: Celery\Serializer::Yaml),
    'shadow' => fn () => $add->applyAsync([2, 3], shadow: 'pretty.name'),
    'stamps' => fn () => $add->applyAsync([2, 3], stamps: ['tenant' => 'acme']),
    'task_id' => fn () => $add->applyAsync([2, 3], taskId: '11111111-2222-3333-4444-555555555555'),
    'task_id_custom_format' => fn () => $add->applyAsync([2, 3], taskId: 'order:42'),
    'time_limits' => fn () => $add->applyAsync([2, 3], timeLimit: 30, softTimeLimit: 20),
    'unicode' => fn () => $echo->delay('héllo ☃ 𝄞', ...['ключ' => 'значение']),
];
// What differs on purpose.
$intended = [
    // Celery writes the texts twice; nothing reads them among the properties.
    'argsrepr_kwargsrepr' => ['properties', ['argsrepr', 'kwargsrepr']],
    // kombu drops a restored message whose named exchange has no binding.
    'exchange_direct' => ['properties', ['delivery_info']],
    // The text is cut elsewhere.
    'long_argsrepr' => ['headers', ['argsrepr']],
    // Python was given a list of arguments, not a tuple.
    'send_task' => ['headers', ['argsrepr']],
];
$same = 0;
foreach ($cases as $name => $post) {
    $post();
    [$python, $list] = captured($name);
    // The list ends in what the priority adds to the queue's name.
    $end = match ($name) {
        'priority_4' => "\x06\x163", 'priority_9' => "\x06\x169", 'keyprefix_prio_steps_sep' => ':7', default => '',
    };
    $raw = redis()->rPop(($name === 'keyprefix_prio_steps_sep' ? 'myapp:' : '') . ($name === 'exchange_direct' ? 'direct_q' : $queue) . $end);
    if ($raw === false) {
        echo "$name: nothing in the list\n";
        continue;
    }
    $queues = [preg_replace('/^myapp:|[\x06:].*$/', '', $list), $name === 'exchange_direct' ? 'direct_q' : $queue];
    $expected = comparable($python, $queues[0]);
    $ours = comparable(json_decode($raw, false, 512, JSON_THROW_ON_ERROR), $queues[1]);
    [$part, $fields] = $intended[$name] ?? ['headers', []];
    foreach ($fields as $field) {
        unset($expected[$part][$field], $ours[$part][$field]);
    }
    if ($expected == $ours) {
        $same++;
        continue;
    }
    foreach ($expected as $part => $value) {
        if ($ours[$part] != $value) {
            echo "$name: $part: ", json_encode(is_array($value) ? array_udiff_assoc($value, $ours[$part], fn ($a, $b) => $a == $b ? 0 : 1) : $value),
                ' in Python, ', json_encode(is_array($value) ? array_udiff_assoc($ours[$part], $value, fn ($a, $b) => $a == $b ? 0 : 1) : $ours[$part]), "\n";
        }
    }
}
echo "$same of ", count($cases), " messages equal Python's\n";
?>
--EXPECT--
45 of 45 messages equal Python's
