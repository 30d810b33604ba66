"""The memory that the worker takes: idle, and with tasks that wait for their ETA."""

import statistics
import time

from harness.measure import Goal, Sample, Table, interleave
from harness.systems import Worker

IDLE = "celery-worker, idle"
WAITING = "celery-worker, tasks waiting for their ETA"
PYTHON = "Python -P prefork -c 2, idle"
DEADLINE = 300


def run(bench):
    count = bench.count(1_000_000, quick=50_000)
    bench.stage("noop eta", "noop eta", range(count))
    ours, python = [bench.binary("celery-worker")], bench.python_worker("-P", "prefork", "-c", "2")
    tasks = [bench.binary("examples/playground")]
    systems = {
        IDLE: lambda: idle(bench, ours),
        PYTHON: lambda: idle(bench, python),
        f"{WAITING}: {count:,}": lambda: waiting(bench, tasks, count),
    }
    table = interleave(Table("Memory, resident, with all processes", unit="MB"), systems, 1 if bench.quick else 3)
    *_, full = systems
    table.goals.append(Goal("P7, idle", table.values(IDLE), 15, at_most=True, unit="MB"))
    each = [(a - b) * 1e6 / count for a, b in zip(table.values(full), table.values(IDLE), strict=True)]
    table.goals.append(Goal("P7, a task waiting for its ETA", each, 100, at_most=True, unit="bytes"))
    yield table


def idle(bench, command):
    bench.redis.flushdb()
    worker = Worker(command)
    # The worker is idle once its memory has stopped growing after the start.
    last, steady = 0, 0
    while steady < 4:
        time.sleep(0.5)
        worker.check()
        resident = worker.resident()
        steady = steady + 1 if resident == last else 0
        last = resident
    worker.stop()
    return Sample(last / 1e6)


def waiting(bench, command, count):
    bench.redis.flushdb()
    bench.prepare("noop eta")
    bench.release()
    worker = Worker(command, CELERY_WORKER_LEASE="600")
    end = time.monotonic() + DEADLINE
    while bench.redis.llen("celery") and time.monotonic() < end:
        worker.check()
        time.sleep(0.05)
    time.sleep(2)
    held = bench.redis.hlen("unacked")
    samples = [worker.resident() for _ in range(5)]
    worker.process.kill()
    worker.process.wait()
    return Sample(statistics.median(samples) / 1e6, sent=count, done=held)
