<?php

/** Changes the directives in ?set and posts a task; prints the values in force before and after. */

require __DIR__ . '/common.inc';

$before = ini_get_all('celery', false);
$changed = [];
foreach ($_GET['set'] ?? [] as $name => $value) {
    $changed[$name] = ini_set("celery.$name", $value) !== false;
}
$client = client();
$posted = $client->PostTask('proj.echo', [1])->getId();
$client->flush();
tell(['before' => $before, 'changed' => $changed, 'posted' => $posted]);
