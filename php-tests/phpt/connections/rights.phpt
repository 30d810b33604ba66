--TEST--
The rights in Redis that docs/reference/php.md names are enough, and each is needed
--EXTENSIONS--
celery
--CONFLICTS--
all
--FILE--
<?php
require __DIR__ . '/../support.inc';
$user = fresh('user');
$documentation = file_get_contents(__DIR__ . '/../../../docs/reference/php.md');
preg_match('/ACL SETUSER shop on \'>PASSWORD\'(.*?)^```/ms', $documentation, $rule);
$rights = array_map(fn ($word) => trim($word, "'"), preg_split('/[\s\\\\]+/', trim($rule[1])));
preg_match('/purges waiting tasks and handles dead letters needs\s+`(.*?)`/s', $documentation, $more);
array_push($rights, ...preg_split('/\s+/', $more[1]));
$redis = redis(5);
$redis->flushDB();
$place = arguments(['login' => $user, 'password' => 'x', 'vhost' => 5]);

$api = fn () => new Celery\Client("redis://$user:x@127.0.0.1:" . redis_port() . '/5');

/** All calls that need a right. */
$do = [
    'post' => fn () => (new Celery(...$place))->PostTask('proj.add', [2, 3], false),
    'post with a priority' => fn () => (new Celery(...$place))->PostTask('proj.add', [2, 3], false, 'celery', ['priority' => 6]),
    'post many' => fn () => (new Celery(...$place))->PostTasks([['proj.add', [2, 3]], ['proj.add', [2, 3]]], false),
    'post once' => function () use ($place) {
        ini_set('celery.publish', 'once');
        (new Celery(...$place))->PostTask('proj.add', [2, 3], false);
    },
    'post without waiting' => function () use ($place) {
        ini_set('celery.publish', 'pipelined');
        $client = new Celery(...$place);
        $client->PostTask('proj.add', [2, 3], false);
        $client->flush();
    },
    'post to a replica' => function () use ($place) {
        ini_set('celery.replicas', '1');
        ini_set('celery.post_timeout', '2');
        (new Celery(...$place))->PostTask('proj.add', [2, 3], false);
    },
    'read, and delete what was read' => function () use ($place) {
        store('known', 'SUCCESS', 5, null, 5);
        (new AsyncResult('known', $place))->isReady();
    },
    'wait' => function () use ($place) {
        store('known', 'SUCCESS', 5, null, 5);
        (new AsyncResult('known', $place))->get(1);
    },
    'forget' => fn () => (new AsyncResult('known', $place))->forget(),
    'revoke' => fn () => (new AsyncResult('known', $place))->revoke(),
    'list and purge a queue' => function () use ($api) {
        $api()->sendTask('proj.add', [2, 3]);
        $api()->waitingTasks();
        $api()->queueLengths();
        $api()->heldTasks();
        $api()->purge();
    },
    'handle dead letters' => function () use ($api, $redis) {
        foreach (['1-0', '2-0'] as $letter) {
            $redis->del('celery.dead');
            $redis->xAdd('celery.dead', $letter, ['queue' => 'celery', 'cause' => 'poison', 'raw' => '{}']);
        }
        $letters = $api()->deadLetters();
        count($letters);
        $letters->newest();
        $letters->find('2-0');
        $letters->replay('2-0');
        $letters->delete('2-0');
    },
];

/**
 * Returns the calls that fail with these rights, and the number of denials. `$replicas` adds a slow
 * call.
 */
$try = function (array $rights, bool $replicas) use ($redis, $user, $do): array {
    $redis->rawCommand('ACL', 'DELUSER', $user);
    $redis->rawCommand('ACL', 'SETUSER', $user, 'on', '>x', ...$rights);
    $redis->rawCommand('ACL', 'LOG', 'RESET');
    $failed = [];
    foreach ($do as $what => $call) {
        if ($what === 'post to a replica' && !$replicas) {
            continue;
        }
        $redis->script('flush');
        try {
            $call();
        } catch (CeleryException $e) {
            $failed[$what] = $e->getMessage();
        }
        array_map('ini_restore', ['celery.publish', 'celery.replicas', 'celery.post_timeout']);
    }

    return [$failed, count($redis->rawCommand('ACL', 'LOG'))];
};

[$failed, $denied] = $try($rights, true);
// Redis has no replica here. The error must report that, and not a missing right.
echo preg_replace('/ broker \S+:/', ' broker:', $failed['post to a replica'] ?? 'no replica was asked'), "\n";
unset($failed['post to a replica']);
var_dump($failed, $denied);

// A user who may not select a database gets a message that says so.
[$failed] = $try(array_values(array_diff($rights, ['+select'])), false);
echo preg_replace('/.*Redis answered: /', '', $failed['post']), "\n";

// A user who only posts needs only these rights.
preg_match('/who only posts needs\s+`(.*?)`, and `(.*?)`/s', $documentation, $rule);
$rights_to_post = preg_split('/\s+/', "$rule[1] $rule[2]");
[$failed] = $try($rights_to_post, false);
foreach (['post', 'post many', 'post without waiting', 'forget'] as $what) {
    echo $what, ': ', preg_replace('/.*Redis answered: /', '', $failed[$what] ?? 'done'), "\n";
}

$needed = array_filter($rights, fn ($right) => !in_array($right, ['resetkeys', 'resetchannels', '-@all'], true));
echo count($needed), " rights\n";
foreach ($needed as $right) {
    [, $denied] = $try(array_values(array_diff($rights, [$right])), $right === '+wait');
    if ($denied === 0) {
        echo "nothing needs $right\n";
    }
}
$redis->rawCommand('ACL', 'DELUSER', $user);
$redis->flushDB();
?>
--EXPECTF--
Task %s was not confirmed by the broker: 0 of 1 replicas confirmed it.%s
array(0) {
}
int(0)
NOPERM %s 'select' %s
post: done
post many: done
post without waiting: done
forget: NOPERM %s 'del' %s
30 rights
