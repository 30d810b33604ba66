--TEST--
Canvases that Python wrote are sent as Python sends them
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Canvas, Client};

/** Names ids by the order in which they appear, and leaves out what differs between clients and runs. */
final class Normal
{
    private array $ids = [];

    public function __invoke(mixed $value): mixed
    {
        if (is_string($value) && preg_match('/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/', $value)) {
            return $this->ids[$value] ??= 'id ' . count($this->ids);
        }
        if (!is_array($value)) {
            return $value;
        }
        if (!array_is_list($value)) {
            ksort($value);
            foreach (['link', 'link_error'] as $name) {
                // One callback counts as a list of one.
                if (isset($value[$name]['task'])) {
                    $value[$name] = [$value[$name]];
                }
            }
            // A null body of a chord means none.
            if (($value['chord'] ?? null) === null) {
                unset($value['chord']);
            }
        }

        return array_map($this, $value);
    }
}

/** Opens a message. */
function opened(string $raw): array
{
    $message = json_decode($raw, true);
    $message['body'] = json_decode(base64_decode($message['body']), true);
    $message['body'][2]['chain'] = $message['body'][2]['chain'] ?: null;
    $headers = &$message['headers'];
    foreach (['eta', 'expires'] as $time) {
        $headers[$time] = isset($headers[$time]) ? 'a time' : null;
    }
    unset($headers['lang'], $headers['origin'], $headers['ignore_result'], $message['properties']['delivery_tag']);
    if (in_array($headers['task'], ['celery.map', 'celery.starmap'], true)) {
        unset($headers['kwargsrepr']);
    }

    return $message;
}

/** Returns the messages of all queues, the first one first, and the sizes of chords. */
function normal(array $queues, array $sizes): array
{
    $normal = new Normal();
    ksort($queues);
    $queues = array_map(fn (array $items) => array_map('opened', array_reverse($items)), $queues);
    $queues = $normal($queues);
    $named = [];
    foreach ($sizes as $key => $size) {
        $named[$normal(substr($key, strlen('celery-taskset-meta-'), 36))] = $size;
    }
    ksort($named);

    return [$queues, $named];
}

$database = 14;
$redis = redis($database);
$url = 'redis://127.0.0.1:' . redis_port() . "/$database";
$client = new Client($url, $url);
$parameters = [
    'queue' => 'queue', 'priority' => 'priority', 'countdown' => 'countdown', 'task_id' => 'taskId', 'link' => 'link',
    'link_error' => 'linkError', 'headers' => 'headers', 'expires' => 'expires', 'shadow' => 'shadow',
];
$equal = 0;
foreach (glob(__DIR__ . '/../../../crates/protocol/tests/fixtures/{canvas-v2,canvas-nested}/redis/*.json', GLOB_BRACE) as $file) {
    $fixture = json_decode(file_get_contents($file), true);
    $signature = $fixture['signature_dict_before_apply'] ?? null;
    $call = $fixture['call'] ?? ['args' => [], 'kwargs' => [], 'options' => []];
    // Fixtures without a signature, and those whose call is not in the file.
    if ($signature === null || (!isset($fixture['call']) && preg_match('/apply_async\(.+\)$/', $fixture['how']))) {
        continue;
    }
    $options = [];
    foreach ($call['options'] as $name => $value) {
        $is_canvas = in_array($name, ['link', 'link_error'], true);
        $options[$parameters[$name]] = $is_canvas ? Canvas::fromArray($value) : $value;
    }
    $redis->flushDB();
    Canvas::fromArray($signature)->bind($client)->applyAsync($call['args'], $call['kwargs'], ...$options);
    $queues = $sizes = [];
    foreach ($redis->keys('*') as $key) {
        if ($redis->type($key) === Redis::REDIS_LIST) {
            $queues[$key] = $redis->lRange($key, 0, -1);
        } elseif (str_ends_with($key, '.s')) {
            $sizes[$key] = $redis->get($key);
        }
    }
    $actual = normal($queues, $sizes);
    $queues = array_filter($fixture['redis_keys'], fn (array $key) => $key['type'] === 'list');
    $sizes = array_filter($fixture['redis_result_keys'], fn (string $key) => str_ends_with($key, '.s'), ARRAY_FILTER_USE_KEY);
    $expected = normal(array_column_of($queues, 'items_head_to_tail'), array_column_of($sizes, 'value'));
    if ($actual === $expected) {
        $equal++;
    } else {
        echo basename($file), "\n", difference(json_encode($expected, JSON_PRETTY_PRINT), json_encode($actual, JSON_PRETTY_PRINT));
    }
}
echo "$equal canvases as Python sends them\n";

function array_column_of(array $entries, string $name): array
{
    return array_map(fn (array $entry) => $entry[$name], $entries);
}

/** Returns the lines around the first difference. */
function difference(string $expected, string $actual): string
{
    [$expected, $actual] = [explode("\n", $expected), explode("\n", $actual)];
    for ($at = 0; ($expected[$at] ?? null) === ($actual[$at] ?? null); $at++);
    $near = fn (array $lines) => implode("\n", array_slice($lines, max(0, $at - 8), 16)) . "\n";

    return "expected\n" . $near($expected) . "actual\n" . $near($actual);
}
?>
--EXPECT--
80 canvases as Python sends them
