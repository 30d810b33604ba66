--TEST--
All classes and their names under Celery\ exist
--EXTENSIONS--
celery
--FILE--
<?php
foreach (['Celery', 'CeleryAbstract', 'CeleryAdvanced', 'AsyncResult', 'CeleryException', 'CeleryTimeoutException',
    'CeleryPublishException', 'CeleryConnectionException'] as $name) {
    $class = new ReflectionClass($name);
    $twin = new ReflectionClass("Celery\\$name");
    printf(
        "%s%s%s extends %s, Celery\\ %s\n",
        $class->isAbstract() ? 'abstract ' : '',
        $class->isFinal() ? 'final ' : '',
        $name,
        $class->getParentClass() ? $class->getParentClass()->getName() : '-',
        $twin->getName() === $name ? 'the same' : 'its own, extends ' . $twin->getParentClass()->getName(),
    );
}
?>
--EXPECT--
Celery extends CeleryAbstract, Celery\ its own, extends CeleryAbstract
abstract CeleryAbstract extends -, Celery\ the same
CeleryAdvanced extends CeleryAbstract, Celery\ its own, extends CeleryAdvanced
AsyncResult extends -, Celery\ the same
CeleryException extends Exception, Celery\ the same
CeleryTimeoutException extends CeleryException, Celery\ the same
CeleryPublishException extends CeleryException, Celery\ the same
CeleryConnectionException extends CeleryException, Celery\ the same
