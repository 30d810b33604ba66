<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use Illuminate\Console\GeneratorCommand;
use Illuminate\Support\Str;
use InvalidArgumentException;
use Symfony\Component\Console\Input\InputOption;

/**
 * Writes the class of a job that is a Celery task, into the namespace of the application's other jobs.
 */
final class MakeJobCommand extends GeneratorCommand
{
    /** @var string */
    protected $name = 'make:celery-job';

    /** @var string */
    protected $description = 'Create a job that runs as a task on Celery workers';

    /** @var string */
    protected $type = 'Job';

    protected function getStub()
    {
        $own = $this->laravel->basePath('stubs/celery-job.stub');

        return is_file($own) ? $own : dirname(__DIR__, 2).'/resources/stubs/job.stub';
    }

    /**
     * @param  string  $rootNamespace
     * @return string
     */
    protected function getDefaultNamespace($rootNamespace)
    {
        return $rootNamespace.'\Jobs';
    }

    /**
     * @param  string  $name
     * @return string
     */
    protected function buildClass($name)
    {
        $task = (string) ($this->option('task') ?: self::taskOf(class_basename($name)));
        if (preg_match('/^[^\s\'\\\\]+$/uD', $task) !== 1) {
            throw new InvalidArgumentException('The name of a task has no spaces, quotes and backslashes');
        }

        return str_replace('{{ task }}', $task, parent::buildClass($name));
    }

    /**
     * @return list<array{string, string|null, int, string}>
     */
    protected function getOptions()
    {
        return [
            ['task', null, InputOption::VALUE_REQUIRED, 'The name of the Celery task; default: from the name of the class, such as send_invoice'],
            ['force', 'f', InputOption::VALUE_NONE, 'Create the class even if it exists'],
        ];
    }

    /** Returns the name of a task in Python's style: SendInvoiceJob is send_invoice. */
    private static function taskOf(string $class): string
    {
        return Str::snake((string) preg_replace('/(?<=.)Job$/', '', $class));
    }
}
