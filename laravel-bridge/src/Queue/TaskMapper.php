<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Attributes\CeleryTask;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use ReflectionClass;

/**
 * Reads the Celery task of a job: name, arguments, queue, connection. Never serializes the job.
 */
final class TaskMapper
{
    /**
     * Returns true if the job names a Celery task.
     */
    public static function maps(mixed $job): bool
    {
        return is_object($job) && (method_exists($job, 'celeryTask') || self::attribute($job) !== null);
    }

    /**
     * @throws JobCannotRunOnCelery the job names no task
     */
    public static function name(object $job): string
    {
        $name = method_exists($job, 'celeryTask') ? $job->celeryTask() : self::attribute($job)?->name;

        if (! is_string($name) || $name === '') {
            throw JobCannotRunOnCelery::unmapped($job);
        }

        return $name;
    }

    /**
     * Returns the arguments: from the method `celeryArguments()`, otherwise the properties with the
     * names of the constructor's parameters, in their order.
     *
     * @return array<array-key, mixed>
     *
     * @throws JobCannotRunOnCelery
     */
    public static function arguments(object $job): array
    {
        if (! method_exists($job, 'celeryArguments')) {
            return self::constructorArguments($job);
        }

        $arguments = $job->celeryArguments();
        if (! is_array($arguments)) {
            throw JobCannotRunOnCelery::because($job, 'its celeryArguments() must return an array');
        }

        return $arguments;
    }

    public static function queue(object $job): ?string
    {
        return self::attribute($job)?->queue;
    }

    public static function connection(object $job): ?string
    {
        return self::attribute($job)?->connection;
    }

    /**
     * @return list<mixed>
     */
    private static function constructorArguments(object $job): array
    {
        $class = new ReflectionClass($job);
        $arguments = [];

        foreach ($class->getConstructor()?->getParameters() ?? [] as $parameter) {
            $name = $parameter->getName();
            if (! $class->hasProperty($name) || $parameter->isVariadic()) {
                throw JobCannotRunOnCelery::because($job, "it has no property for \${$name} of its constructor; "
                    .'give it a method celeryArguments(): array');
            }
            $arguments[] = $class->getProperty($name)->getValue($job);
        }

        return $arguments;
    }

    private static function attribute(object $job): ?CeleryTask
    {
        // By default, a subclass of a job is the task of its parent. PHP itself does not inherit
        // attributes.
        for ($class = new ReflectionClass($job); $class !== false; $class = $class->getParentClass()) {
            $found = $class->getAttributes(CeleryTask::class);
            if ($found !== []) {
                return $found[0]->newInstance();
            }
        }

        return null;
    }
}
