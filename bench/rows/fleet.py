"""Several workers on one Redis: four processes, each with a queue of its own, against one."""

import statistics
import time

from harness import processors
from harness.broker import QUEUE
from harness.measure import Goal, Sample, Table, figure, interleave
from harness.systems import Worker, wait_until_empty

PROCESSES = 4


def run(bench):
    count = bench.count(200_000, quick=40_000)
    spent = {}
    systems = {}
    for processes in (1, PROCESSES):
        name = "1 process" if processes == 1 else f"{processes} processes"
        systems[name] = draining(bench, processes, count, spent.setdefault(name, []))
    table = interleave(Table("Worker, several processes on one Redis, no results"), systems, bench.rounds)
    one, several = systems
    table.goals.append(
        Goal(f"P11, {several} ÷ {one}", table.ratios(several, one), 1.0),
    )
    # The first round warmed up.
    each = {name: [1e6 * seconds / count for seconds in rounds[1:]] for name, rounds in spent.items()}
    growth = [a / b for a, b in zip(each[several], each[one], strict=True)]
    title = f"P11, processor time of Redis for a task, {several} ÷ {one}"
    table.goals.append(Goal(title, growth, 1.1, at_most=True))
    table.notes.append(
        "µs of Redis' processor time for each task: "
        + ", ".join(f"{name} {figure(statistics.median(times))}" for name, times in each.items())
    )
    yield table


def draining(bench, processes, count, spent):
    """Returns a function that measures this number of workers; `spent` gets the processor time of
    Redis.
    """
    queues = [f"{QUEUE}-{number}" for number in range(processes)]
    share = count // processes
    for number, queue in enumerate(queues):
        bench.stage(f"fleet {queue} of {processes}", "noop", range(number * share, (number + 1) * share))

    def measure():
        bench.redis.flushdb()
        command = [bench.binary("examples/playground"), "--result-backend", "disabled"]
        workers = [Worker([*command, "-Q", queue, "-n", f"{queue}@bench"]) for queue in queues]
        try:
            # The tasks for warming up have numbers above those of the measured tasks.
            for queue in queues:
                bench.redis.lpush(queue, *bench.messages.make("noop", range(count + 1, count + 201)))
            wait_until_empty(bench, workers, queues)
            for queue in queues:
                name = f"fleet {queue} of {processes}"
                bench.store.copy(name, f"bench:staged {queue}", destination_db=0, replace=True)
            before = processors.used(bench.redis_pid)
            with bench.redis.pipeline() as pipe:
                for queue in queues:
                    pipe.rename(f"bench:staged {queue}", queue)
                pipe.execute()
            begin = time.perf_counter()
            end, _ = wait_until_empty(bench, workers, queues)
            spent.append(processors.used(bench.redis_pid) - before)
        finally:
            for worker in workers:
                worker.stop()
        runs = [worker.runs(count) for worker in workers]
        times = [sum(column) for column in zip(*runs, strict=True)]
        done = count - times.count(0)
        return Sample(count / (end - begin), sent=count, done=done, twice=sum(times) - done)

    return measure
