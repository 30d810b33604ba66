"""Tasks from 64 B to 1 MiB, claimed by script and by native commands: our worker alone.

A script reads each byte of a message in Redis's Lua. Native commands take three calls a claim.
"""

import statistics

from harness.measure import Table, figure, interleave
from harness.systems import draining

SIZES = {"64 B": 64, "1 KiB": 1 << 10, "4 KiB": 4 << 10, "16 KiB": 16 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20}
# The bytes of all arguments of a round, which are in Redis twice while it begins.
MOST_BYTES = 128 << 20
MODES = ["script", "native", "adaptive"]


def run(bench):
    program = [bench.binary("examples/playground"), "--result-backend", "disabled"]
    rounds = min(bench.rounds, 5)
    for name, size in SIZES.items():
        count = min(bench.count(50_000, quick=10_000), MOST_BYTES // size)
        stage = f"noop {count} of {name}"
        bench.stage(stage, "noop", range(count), size)
        kept = {mode: [] for mode in MODES}
        systems = {
            f"--claim={mode}": draining(bench, [*program, "--claim", mode], stage, count, kept=kept[mode])
            for mode in MODES
        }
        table = interleave(Table(f"Worker, arguments of {name}, claimed in different ways"), systems, rounds)
        bench.store.delete(stage)
        for mode, drained in kept.items():
            table.notes.append(f"{mode}: " + processor_times(drained[1:], count))
        ratios = table.ratios("--claim=adaptive", "--claim=script")
        table.notes.append(f"adaptive ÷ script: {figure(statistics.median(ratios))} ×")
        yield table


def processor_times(drained, count):
    """Formats the processor time that a task takes in Redis and in the worker."""
    redis = statistics.median(one.redis_time for one in drained) / count
    worker = statistics.median(one.worker_time for one in drained) / count
    return f"{figure(redis * 1e6)} µs of processor time a task in Redis, {figure(worker * 1e6)} µs in the worker"
