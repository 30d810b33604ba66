--TEST--
Signatures are celery-php's: names, defaults, no types
--EXTENSIONS--
celery
--FILE--
<?php
function signature(string $class, string $method): void
{
    $method = new ReflectionMethod($class, $method);
    $parameters = array_map(function (ReflectionParameter $p) {
        $default = $p->isDefaultValueAvailable() ? ' = ' . json_encode($p->getDefaultValue()) : '';
        return trim($p->getType() . ' $') . $p->getName() . $default;
    }, $method->getParameters());
    echo $class, '::', $method->getName(), '(', implode(', ', $parameters), ')',
        $method->hasReturnType() ? ': ' . $method->getReturnType() : '', $method->isStatic() ? ' static' : '', "\n";
}
foreach (['Celery', 'Celery\Celery', 'CeleryAdvanced', 'AsyncResult'] as $class) {
    signature($class, '__construct');
}
foreach (['Celery', 'Celery\Celery', 'Celery\CeleryAdvanced'] as $class) {
    signature($class, 'PostTask');
}
signature('CeleryAbstract', 'getAsyncResultMessage');
signature('CeleryAbstract', 'BuildConnection');
signature('CeleryAbstract', 'InitializeAMQPConnection');
signature('AsyncResult', 'get');
signature('AsyncResult', 'wait');
signature('CeleryPublishException', 'outcomeUnknown');
signature('CeleryPublishException', 'taskId');
?>
--EXPECT--
Celery::__construct($host, $login = null, $password = null, $vhost = null, $exchange = "celery", $binding = "celery", $port = 5672, $connector = false, $persistent_messages = false, $result_expire = 0, $ssl_options = [])
Celery\Celery::__construct($host, $login = null, $password = null, $vhost = null, $exchange = "celery", $binding = "celery", $port = 5672, $connector = false, $result_expire = 0, $ssl_options = [])
CeleryAdvanced::__construct($broker_connection, $backend_connection = false)
AsyncResult::__construct($id, $connection_details, $task_name = null, $task_args = null)
Celery::PostTask($task, $args, $async_result = true, $routing_key = "celery", $task_args = [])
Celery\Celery::PostTask($task, $args, $async_result = true, $routing_key = "celery", $options = [])
Celery\CeleryAdvanced::PostTask($task, $args, $async_result = true, $routing_key = "celery", $options = [])
CeleryAbstract::getAsyncResultMessage($taskName, $taskId, $args = null, $removeMessageFromQueue = true)
CeleryAbstract::BuildConnection($connection_details, $is_backend = false)
CeleryAbstract::InitializeAMQPConnection($details) static
AsyncResult::get($timeout = 10, $propagate = true, $interval = 0.5)
AsyncResult::wait($timeout = 10, $propagate = true, $interval = 0.5)
CeleryPublishException::outcomeUnknown(): bool
CeleryPublishException::taskId(): ?string
