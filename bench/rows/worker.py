"""Workers drain a full queue of tasks that do nothing, acknowledged late, with and without results.

Python's worker is measured with each of its pools; `make bench` tries several prefetch multipliers
and keeps the best. rusty-celery has one setting, its prefetch count. A message that it has popped
is stored nowhere until its next command: it can lose tasks.
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
    table.want_of_best("P3, celery-worker ÷ Python prefork", OURS, [pythons[0]], 100)
    table.note_best("celery-worker ÷ Python's best", OURS, pythons)
    table.want("P3, celery-worker ÷ rusty-celery", OURS, "rusty-celery", 20)
    pops = redis_limit()
    wanted = 50_000 * pops / 380_000
    table.goals.append(Goal("P3, tasks a second", table.values(OURS), wanted, unit=""))
    table.notes.append(f"redis-benchmark -P 200 pops {figure(pops)} a second: what is wanted is 50,000 at 380,000")
    # The first round warmed up.
    reads = [drained.reads / many for drained in kept[1:]]
    table.goals.append(Goal("P9, reads of Redis from its clients, a task", reads, 0.1, at_most=True, unit=""))
    calls = sorted(kept[-1].calls.items(), key=lambda item: -item[1])
    table.notes.append(
        "commands a task, those in scripts included: "
        + ", ".join(f"{name} {figure(n / many)}" for name, n in calls[:8])
    )
    return table


def with_results(bench):
    many, _, few = sizes(bench)
    systems = {OURS: draining(bench, playground(bench), f"noop {many}", many)}
    for pool, prefetch in pools(bench, few, "1").items():
        systems[f"Python -P {pool}"] = python(bench, pool, prefetch, few, "1")
    table = interleave(Table("Worker, tasks that do nothing, results stored and published"), systems, bench.rounds)
    pythons = [name for name in systems if name.startswith("Python")]
    table.want_of_best("P4, celery-worker ÷ Python's best", OURS, pythons, 75)
    return table


def sizes(bench):
    """Returns the tasks a round for us, for rusty-celery, and for Python; a task's cost does not depend on it."""
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
    """Returns the most pops a second that the server does: short strings, 200 a round trip."""
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
