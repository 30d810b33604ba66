<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Outcomes\Outbox;
use CeleryBridge\TaskMessage;
use Closure;
use Throwable;

/**
 * Posts prepared jobs: after the commit or at once, those of one queue in one round trip, with
 * Laravel's events.
 */
trait PostsJobs
{
    /**
     * Posts the jobs: each after the commit or at once, as it says.
     *
     * @param  list<Posting>  $postings
     */
    private function send(array $postings): void
    {
        $outbox = $this->outbox();
        if ($outbox->isOn()) {
            $postings = array_map(static fn (Posting $posting): Posting => $posting->once(), $postings);
        }

        $now = $later = [];
        foreach ($postings as $posting) {
            if ($this->waitsForCommit($posting->job)) {
                $later[] = $posting;
            } else {
                $now[] = $posting;
            }
        }

        // Rows of jobs that wait are part of the transaction.
        $outbox->write(array_map(fn (Posting $posting): array => $this->row(
            $posting->task,
            $this->connectionFor($posting->job),
            $this->payloadOf($posting),
        ), $outbox->isOn() ? $postings : []));
        $this->postAll($now);
        if ($later !== []) {
            $this->factory()->afterCommit()->run(
                array_map(static fn (Posting $posting): string => $posting->task->id, $later),
                fn () => $this->postAll($later),
                rolledBack: function () use ($later, $outbox): void {
                    $outbox->withdraw(self::tasksOf($later));
                    foreach ($later as $posting) {
                        UniqueLocks::release($this->container, $posting->job);
                    }
                },
            );
        }
    }

    /**
     * Returns false: a post that must wait for a commit has waited before Laravel's part begins.
     *
     * @param  mixed  $job
     * @return bool
     */
    protected function shouldDispatchAfterCommit($job)
    {
        return false;
    }

    private function waitsForCommit(object $job): bool
    {
        $this->dispatchAfterCommit = $this->afterCommit ?? $this->settings($job)->afterCommit;

        return (bool) parent::shouldDispatchAfterCommit($job);
    }

    /**
     * Posts the jobs that are due now, with a round trip for each queue. After a failure it posts
     * nothing more.
     *
     * @param  list<Posting>  $postings
     */
    private function postAll(array $postings): void
    {
        $groups = [];
        foreach ($postings as $posting) {
            $groups[$this->connectionFor($posting->job)."\0".$posting->task->queue][] = $posting;
        }

        while (($group = array_shift($groups)) !== null) {
            try {
                if (count($group) === 1) {
                    $this->queued($group[0], fn () => $this->post($group));

                    continue;
                }
                $this->post($group);
            } catch (Throwable $e) {
                $untried = array_merge(...array_values($groups));
                $this->outbox()->withdraw(self::tasksOf($untried));
                foreach ($untried as $posting) {
                    $this->failed($posting, $e);
                }

                throw $e;
            }
            foreach ($group as $posting) {
                $this->queued($posting);
            }
        }
    }

    /**
     * Posts a job, and raises Laravel's events before and after it. Their constructors differ
     * between versions of Laravel, so that only `enqueueUsing()` can call them.
     *
     * @param  (Closure(): mixed)|null  $post  null: the job is posted already
     */
    private function queued(Posting $posting, ?Closure $post = null): void
    {
        [$job, $task] = [$posting->job, $posting->task];

        // enqueueUsing() only passes this description to the event JobQueued and its listeners.
        $description = json_encode([
            'uuid' => $task->id,
            'displayName' => $this->getDisplayName($job),
            'job' => $task->name,
            'maxTries' => $posting->settings->tries,
            'timeout' => $posting->settings->timeout,
            'data' => ['queue' => $task->queue],
        ], JSON_UNESCAPED_UNICODE | JSON_PARTIAL_OUTPUT_ON_ERROR);

        $this->enqueueUsing($job, $description, $task->queue, $posting->delay, static function () use ($post, $task): string {
            if ($post !== null) {
                $post();
            }

            return $task->id;
        });
    }

    /**
     * @param  non-empty-list<Posting>  $postings  of one connection and queue
     */
    private function post(array $postings): void
    {
        $client = $this->factory()->connection($this->connectionFor($postings[0]->job));

        try {
            $tasks = self::tasksOf($postings);
            $this->outbox()->post($tasks, static fn () => $client->postMany($tasks));
        } catch (Throwable $e) {
            foreach ($postings as $posting) {
                if (Outbox::isConfirmed($posting->task, $e)) {
                    $this->queued($posting);
                } else {
                    $this->failed($posting, $e);
                }
            }

            throw $e;
        }
    }

    /**
     * Releases the job's lock and calls its `failed()`, because no program will retry it. It does neither
     * if another connection takes over.
     */
    private function failed(Posting $posting, Throwable $reason): void
    {
        if ($this->callFailed) {
            UniqueLocks::release($this->container, $posting->job);
            FailedCallback::call($this->container, $posting->job, $reason);
        }
    }

    /**
     * @param  list<Posting>  $postings
     * @return list<TaskMessage>
     */
    private static function tasksOf(array $postings): array
    {
        return array_map(static fn (Posting $posting): TaskMessage => $posting->task, $postings);
    }
}
