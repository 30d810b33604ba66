<?php

/**
 * Posts 5 tasks without waiting, whose ids begin with ?name, and then ends in the way that ?by
 * names. With ?finish, it sends its response before it ends.
 */

require __DIR__ . '/common.inc';

ini_set('celery.publish', 'pipelined');
ini_set('celery.post_timeout', $_GET['post_timeout'] ?? '20');
$client = client();
for ($i = 1; $i <= 5; ++$i) {
    $client->PostTask('proj.echo', [$i], false, 'celery', ['id' => "$_GET[name]-$i"]);
}
tell([]);
if (isset($_GET['finish'])) {
    fastcgi_finish_request();
}
end_by($_GET['by'] ?? 'its last line');
