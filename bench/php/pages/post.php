<?php

/**
 * Posts a task if the extension is loaded. Answer: {resident, private}, in kilobytes. The resident
 * memory includes pages of programs and libraries, which all children share.
 */

if (extension_loaded('celery')) {
    $client = new Celery(getenv('REDIS_HOST'), null, null, 0, 'celery', 'celery', getenv('REDIS_PORT'), 'redis');
    $client->PostTask('noop', [str_repeat('x', 64)]);
}
preg_match_all('/^(VmRSS|RssAnon):\s+(\d+)/m', file_get_contents('/proc/self/status'), $found);
['VmRSS' => $resident, 'RssAnon' => $private] = array_combine($found[1], array_map(intval(...), $found[2]));
echo json_encode(compact('resident', 'private'));
