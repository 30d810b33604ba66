<?php

/**
 * Serves one measured system over standard input: each line is an order as JSON, each answer is one
 * line of JSON. The process and its connections live through all rounds, like those of a PHP-FPM
 * child.
 *
 * @param callable(array): array $work carries out an order and returns the answer
 */
function serve(callable $work): void
{
    echo json_encode(['ready' => true]), "\n";
    while (($line = fgets(STDIN)) !== false) {
        echo json_encode($work(json_decode($line, true))), "\n";
    }
}

/** Returns the seconds that $work takes. */
function seconds(callable $work): float
{
    $begin = hrtime(true);
    $work();
    return (hrtime(true) - $begin) / 1e9;
}

/** Like seconds(), and also returns the CPU seconds of this process: {seconds, processor}. */
function timed(callable $work): array
{
    $before = processor();
    return ['seconds' => seconds($work), 'processor' => processor() - $before];
}

function processor(): float
{
    $usage = getrusage();
    return $usage['ru_utime.tv_sec'] + $usage['ru_stime.tv_sec'] + ($usage['ru_utime.tv_usec'] + $usage['ru_stime.tv_usec']) / 1e6;
}

/** Connects to Redis: by its unix socket if `BENCH_UNIX` is set, otherwise by TCP. */
function phpredis(): Redis
{
    $redis = new Redis();
    getenv('BENCH_UNIX') ? $redis->connect(getenv('REDIS_SOCKET')) : $redis->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
    return $redis;
}
