<?php

/** Posts tasks to a RabbitMQ, whose results come as replies, and reads results as the query says. */

require __DIR__ . '/common.inc';

$rabbit = new Celery(getenv('AMQP_URL'));
for ($number = 1; $number <= (int) ($_GET['posts'] ?? 0); ++$number) {
    $last = $rabbit->PostTask('proj.add', [$number, 1], true, $_GET['queue']);
}
try {
    $read = match ($_GET['read'] ?? '') {
        'state' => (new Celery\Client(getenv('AMQP_URL')))->result($_GET['id'])->state(),
        'last' => $last->get(60),
        default => null,
    };
} catch (CeleryException $exception) {
    $read = $exception->getMessage();
}
tell(['read' => $read, 'id' => isset($last) ? $last->getId() : null]);
