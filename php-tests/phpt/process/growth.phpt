--TEST--
Posts and reads do not make the process grow. CELERY_TEST_POSTS is the number of posts
--EXTENSIONS--
celery
--CONFLICTS--
all
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;

/** Returns the resident kilobytes of this process. */
function resident(): int
{
    preg_match('/^VmRSS:\s+(\d+) kB/m', file_get_contents('/proc/self/status'), $found);

    return (int) $found[1];
}
$queue = fresh('queue');
$id = fresh('id');
store($id, 'SUCCESS', ['a' => [1, 2.5, 'text']]);
// A million posts may take longer than a stored result is kept.
redis()->persist("celery-task-meta-$id");
ini_set('celery.keep_results', '1');
$old = client(['exchange' => $queue]);
$new = new Client(redis_url(), queue: $queue);
$redis = redis();
$date = new DateTimeImmutable('2026-11-29T12:00:00Z');
// 100 posts in every way, a read of a result, and a refused post.
$round = function () use ($old, $new, $queue, $id, $redis, $date): void {
    for ($i = 0; $i < 30; ++$i) {
        $old->PostTask('proj.add', [$i, "text $i"]);
        $new->sendTask('proj.add', [$i], ['when' => $date, 'rate' => 1.5]);
    }
    $row = fn ($i) => ['proj.add', [$i, 1.5]];
    $old->PostTasks(array_map($row, range(1, 20)));
    $new->sendTasks(array_fill(0, 10, $new->signature('proj.add', [1])));
    ini_set('celery.publish', 'pipelined');
    for ($i = 0; $i < 10; ++$i) {
        $old->PostTask('proj.add', [$i], true, $queue, ['expires' => 60]);
    }
    $old->flush();
    ini_set('celery.publish', 'confirmed');
    (new AsyncResult($id, arguments()))->get(20);
    $new->result($id)->get(20);
    try {
        $old->PostTask('proj.add', ["\xff"]);
    } catch (CeleryException) {
    }
    $redis->del($queue);
};
$rounds = max(60, intdiv((int) (getenv('CELERY_TEST_POSTS') ?: 20_000), 100));
for ($i = 0; $i < 50; ++$i) {
    $round();
}
[$resident, $php] = [resident(), memory_get_usage()];
for ($i = 0; $i < $rounds; ++$i) {
    $round();
}
[$grown, $of_php] = [resident() - $resident, memory_get_usage() - $php];
printf("%d posts: %d kB more than %d kB, %d bytes more of PHP's\n", $rounds * 100, $grown, $resident, $of_php);
echo $grown < 400 ? 'flat' : "$grown kB more", ', ', $of_php < 1000 ? 'flat' : "$of_php bytes more", "\n";
?>
--EXPECTF--
%d posts: %i kB more than %d kB, %i bytes more of PHP's
flat, flat
