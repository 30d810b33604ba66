--TEST--
PostTask and PostTasks that end in PHP's memory limit, or are refused because of it, have sent nothing
--EXTENSIONS--
celery
pcntl
--INI--
display_errors=0
log_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';

/**
 * Returns the exit code of a child process that runs a call: 0 after success, 3 after a refusal, 255
 * after a fatal error.
 */
function child(int $megabytes, callable $call): int
{
    $child = pcntl_fork();
    if ($child === 0) {
        ini_set('memory_limit', "{$megabytes}M");
        try {
            $call();
        } catch (CeleryException $e) {
            exit(str_starts_with($e->getMessage(), 'No task was sent: the messages take more') ? 3 : 4);
        }
        exit(0);
    }
    pcntl_waitpid($child, $status);

    return pcntl_wexitstatus($status);
}

/** Makes calls with many memory limits and prints the outcomes that occurred. */
function outcomes(string $what, array $limits, callable $try): void
{
    $seen = [];
    foreach ($limits as $limit) {
        $seen[$try($limit)] = true;
    }
    ksort($seen);
    echo $what, ': ', implode(', ', array_keys($seen)), "\n";
}

/** Returns tasks of three forms. None needs more memory than its slot in the array. */
$tasks = [
    'list' => fn (int $count) => array_fill(0, $count, ['t', ['x']]),
    'keys' => fn (int $count) => array_fill(1_000_000, $count, ['t', ['x']]),
    'generator' => function (int $count) {
        for ($i = 0; $i < $count; ++$i) {
            yield $i => ['t', ['x']];
        }
    },
];
// These limits in megabytes are enough for the tasks but not for the results, or just below or
// above that.
$cases = [
    ['list', 10000, true, [2, 3, 4, 6]],
    ['list', 25000, true, [4, 8, 12]],
    ['keys', 6000, true, [2, 4]],
    ['generator', 6000, true, [2, 4]],
    ['list', 10000, false, [2, 3, 4]],
    ['generator', 10000, false, [2, 3, 4]],
];
foreach ($cases as [$form, $count, $wanted, $limits]) {
    $make = fn () => $tasks[$form]($count);
    $what = "$form of $count" . ($wanted ? '' : ' without results');
    outcomes($what, $limits, function (int $limit) use ($make, $count, $wanted) {
        $queue = fresh('queue');
        $post = fn () => client(['exchange' => $queue])->PostTasks($make(), $wanted);
        $code = child($limit, $post);
        $sent = redis()->lLen($queue);
        redis()->del($queue);

        return match ([$code, $sent]) {
            [0, $count] => 'all sent',
            [3, 0] => 'refused and nothing sent',
            [255, 0] => 'fatal and nothing sent',
            default => "exit code $code with $sent sent and $limit MB",
        };
    });
}

// Posts one after another until the memory is full. Each task that was sent has its result object.
outcomes('one by one', [4, 6], function (int $limit) {
    $queue = fresh('queue');
    $code = child($limit, function () use ($limit, $queue) {
        $client = client(['exchange' => $queue]);
        $kept = array_fill(0, 20_000, null);
        $done = 0;
        register_shutdown_function(function () use (&$kept, &$done, $queue) {
            $kept = null;
            ini_set('memory_limit', '64M');
            redis()->set("$queue-done", $done);
        });
        for ($ballast = []; memory_get_usage() < ($limit << 20) - 700_000;) {
            $ballast[] = str_repeat('x', 64 << 10);
        }
        while (true) {
            $kept[$done] = $client->PostTask('t', ['x']);
            ++$done;
        }
    });
    [$sent, $done] = [redis()->lLen($queue), (int) redis()->get("$queue-done")];

    return $code === 255 && $done > 0 && $sent === $done
        ? 'fatal, and each has its result'
        : "exit code $code with $sent sent and $done results";
});

// The exception names all tasks. If there is not enough memory for it, nothing was sent. Otherwise
// Redis would have logged the denied commands.
$cases = [[5000, true, [2, 4]], [10000, false, [3, 4]]];
foreach ($cases as [$count, $wanted, $limits]) {
    $what = "$count refused" . ($wanted ? '' : ' without results');
    outcomes($what, $limits, function (int $limit) use ($tasks, $count, $wanted) {
        $user = fresh('user');
        redis()->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', '~*', '&*', '+@all', '-lpush');
        $place = ['login' => $user, 'password' => 'x', 'exchange' => $user];
        $code = child($limit, function () use ($tasks, $place, $count, $wanted) {
            try {
                client($place)->PostTasks($tasks['list']($count), $wanted);
            } catch (CeleryPublishException $e) {
                exit(count($e->taskIds()) === $count ? 1 : 2);
            }
        });
        redis()->rawCommand('ACL', 'DELUSER', $user);
        $asked = str_contains(json_encode(redis()->rawCommand('ACL', 'LOG', 128)), $user);

        return match ([$code, $asked]) {
            [1, true] => 'exception',
            [255, false] => 'fatal and nothing sent',
            default => "exit code $code, " . ($asked ? 'sent' : 'not sent') . " with $limit MB",
        };
    });
}
?>
--EXPECT--
list of 10000: all sent, fatal and nothing sent, refused and nothing sent
list of 25000: all sent, refused and nothing sent
keys of 6000: all sent, fatal and nothing sent
generator of 6000: all sent, fatal and nothing sent
list of 10000 without results: all sent, fatal and nothing sent, refused and nothing sent
generator of 10000 without results: all sent, fatal and nothing sent, refused and nothing sent
one by one: fatal, and each has its result
5000 refused: exception, fatal and nothing sent
10000 refused without results: exception, fatal and nothing sent
