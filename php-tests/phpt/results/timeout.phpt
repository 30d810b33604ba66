--TEST--
A result that does not come is a CeleryTimeoutException with code 4 that names the task
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

/** Opens both connections first: opening one may take longer than the timeout below. */
function connected(): void
{
    $other = new AsyncResult(fresh('id'), arguments());
    store($other->getId(), 'SUCCESS', null);
    $other->get(60);
}

$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
foreach ([[0], [-1], [0.05], ['0.05', true, '0.01'], [0.05, false]] as $arguments) {
    connected();
    try {
        $result->get(...$arguments);
    } catch (CeleryTimeoutException $e) {
        echo get_class($e), ' ', $e->getCode(), ' ', str_contains($e->getMessage(), 'proj.add([2,3])') ? 'named' : $e->getMessage(), "\n";
    }
}
ini_set('celery.result_timeout', '0.05');
connected();
show(fn () => $result->wait(null));
show(fn () => $result->get('soon'));
show(fn () => $result->get([]));
?>
--EXPECTF--
CeleryTimeoutException 4 named
CeleryTimeoutException 4 named
CeleryTimeoutException 4 named
CeleryTimeoutException 4 named
CeleryTimeoutException 4 named
CeleryTimeoutException (4): Task proj.add([2,3]) with the id %s was not done after 0.05 seconds. %s
CeleryException: The timeout must be a number of seconds, string given.
CeleryException: The timeout must be a number of seconds, array given.
