<?php

// Posts COUNT tasks `proj.sleep` with ids from s<FIRST> on to the queue `play`, one after another:
// php poster.php BROKER FIRST COUNT REPLICAS TIMEOUT
//
// A task whose post fails is posted again with its id until the broker confirms it, so that it may
// be there twice, but is never missing.

[, $broker, $first, $count, $replicas, $timeout] = $argv;
ini_set('celery.replicas', $replicas);
ini_set('celery.post_timeout', $timeout);
$client = new Celery($broker, null, null, null);
[$failed, $slowest] = [0, 0.0];
for ($number = (int) $first; $number < $first + $count; $number++) {
    $begun = microtime(true);
    for (;;) {
        try {
            $client->PostTask('proj.sleep', [0.002], false, 'play', ['id' => "s$number"]);
            break;
        } catch (CeleryException $error) {
            $failed++;
            echo get_class($error), ': ', $error->getMessage(), "\n";
            if (microtime(true) - $begun > 60) {
                throw $error;
            }
            usleep(50_000);
        }
    }
    $slowest = max($slowest, microtime(true) - $begun);
    usleep(2_000);
}
printf("posted failed=%d slowest=%.3f\n", $failed, $slowest);
