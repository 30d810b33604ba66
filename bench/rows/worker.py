"""Workers drain a full queue of tasks that do nothing, acknowledged late, with and without results.

Python's worker is measured with each of its pools; `make bench` tries several prefetch multipliers
and keeps the best. rusty-celery has one setting, its prefetch count. It pops a message, and stores
it nowhere until its next command to Redis, so it can lose tasks.
"""

import os
import re
import statistics
import subprocess

from harness.measure import Goal, Table, figure, interleave
from harness.systems import draining

OURS = "celery-worker"
POOLS = {"prefork -c 2": 64, "threads -c 4": 64, "solo": 64}
SWEPT = [1, 4, 16, 64, 256]


def run(bench):
    yield without_results(bench)
    yield with_results(bench)


def without_results(bench):
    many, some, few = sizes(bench)
    kept = []
    systems = {OURS: draining(bench, [*playground(bench), "--result-backend", "disabled"], f"noop {many}", many, kept)}
    for pool, prefetch in pools(bench, few, "0").items():
        systems[f"Python -P {pool}"] = python(bench, pool, prefetch, few, "0")
    rusty = bench.peer("bench-rusty-celery")
    if rusty:
        systems["rusty-celery"] = draining(bench, [rusty], f"noop {some}", some, BENCH_CONCURRENCY="0")
    table = interleave(Table("Worker, tasks that do nothing, no results"), systems, bench.rounds)
    pythons = [name for name in systems if name.startswith("Python")]
    table.want_of_best("P3, celery-worker ÷ Python prefork", OURS, [pythons[0]], 120)
    table.note_best("celery-worker ÷ Python's best", OURS, pythons)
    table.want("P3, celery-worker ÷ rusty-celery", OURS, "rusty-celery", 25)
    # The first round warmed up.
    measured = kept[1:]
    table.goals += processor_goals(measured, many)
    table.notes.append(f"redis-benchmark -P 200 pops {figure(redis_limit())} messages a second")
    reads = [drained.reads / many for drained in measured]
    table.goals.append(Goal("P9, reads of Redis from its clients, a task", reads, 0.1, at_most=True, unit=""))
    calls = sorted(kept[-1].calls.items(), key=lambda item: -item[1])
    table.notes.append(
        "commands for each task, with those in scripts: "
        + ", ".join(f"{name} {figure(n / many)}" for name, n in calls[:8])
    )
    return table


def with_results(bench):
    many, _, few = sizes(bench)
    kept = []
    systems = {OURS: draining(bench, playground(bench), f"noop {many}", many, kept)}
    for pool, prefetch in pools(bench, few, "1").items():
        systems[f"Python -P {pool}"] = python(bench, pool, prefetch, few, "1")
    table = interleave(Table("Worker, tasks that do nothing, results stored and published"), systems, bench.rounds)
    pythons = [name for name in systems if name.startswith("Python")]
    table.want_of_best("P4, celery-worker ÷ Python's best", OURS, pythons, 90)
    redis, worker = processor_times(kept[1:], many)
    table.notes.append(
        "µs of processor time for each task: "
        f"Redis {figure(statistics.median(redis))}, celery-worker {figure(statistics.median(worker))}"
    )
    return table


def processor_times(measured, count):
    """Returns the µs of processor time for each task, of Redis and of the worker, in each round."""
    redis = [1e6 * drained.redis_time / count for drained in measured]
    worker = [1e6 * drained.worker_time / count for drained in measured]
    return redis, worker


def processor_goals(measured, count):
    """Returns the goals for processor time: how much a task takes, and that no processor idles."""
    redis, worker = processor_times(measured, count)
    processors = min(len(os.sched_getaffinity(0)), 2)
    busy = [(drained.redis_time + drained.worker_time) / drained.seconds / processors for drained in measured]
    return [
        Goal("P3, processor time of Redis for a task", redis, 4, at_most=True, unit="µs"),
        Goal("P3, processor time of the worker for a task", worker, 5, at_most=True, unit="µs"),
        Goal("P3, share of two processors that both use", busy, 0.7, unit=""),
    ]


def sizes(bench):
    """Returns the numbers of tasks in a round: ours, rusty-celery's, Python's. The cost of a task
    does not depend on them.
    """
    chosen = bench.count(200_000, quick=50_000), bench.count(20_000, quick=5_000), bench.count(3_000, quick=800)
    for count in chosen:
        bench.stage(f"noop {count}", "noop", range(count))
    return chosen


def playground(bench):
    """Returns the command of celery-worker with a no-op task, in its default settings."""
    return [bench.binary("examples/playground")]


def python(bench, pool, prefetch, count, results):
    command = bench.python_worker(*f"-P {pool}".split())
    return draining(bench, command, f"noop {count}", count, BENCH_PREFETCH=str(prefetch), BENCH_RESULTS=results)


def pools(bench, count, results):
    """Returns each pool with its best prefetch multiplier."""
    if bench.quick:
        return POOLS
    best = {}
    for pool in POOLS:
        speeds = {prefetch: python(bench, pool, prefetch, count, results)().value for prefetch in SWEPT}
        best[pool] = max(speeds, key=speeds.get)
        bench.say(f"Python -P {pool}: " + ", ".join(f"prefetch {n}: {figure(speed)}" for n, speed in speeds.items()))
    return best


def redis_limit():
    """Returns the highest number of pops that the server does in a second, with short strings and
    200 pops in a round trip.
    """
    command = [
        "redis-benchmark",
        "-s",
        os.environ["REDIS_SOCKET"],
        "--dbnum",
        "2",
        "-P",
        "200",
        "-n",
        "400000",
        "-q",
        "-t",
    ]
    speeds = []
    for _ in range(3):
        # `lpush` runs first and fills the list that `rpop` then empties.
        text = subprocess.run([*command, "lpush,rpop"], capture_output=True, text=True, check=True).stdout
        speeds.append(float(re.findall(r"RPOP: ([\d.]+) requests", text.replace("\r", "\n"))[-1]))
    return statistics.median(speeds)
