"""From PostTask to the result in one PHP process, without other work."""

import statistics

from harness.measure import Goal, Sample, Table, interleave, percentile
from harness.systems import Client, Worker

OURS = "PostTask()->get(), celery-worker"
PYTHON = "Python send_task().get(), Python worker"
CELERY_PHP = "celery-php, celery-worker"


def run(bench):
    posts = bench.count(2_000, quick=500)
    bench.redis.flushdb()
    ours = Client(bench.php("round_trip.php"))
    python = Client(bench.python("post.py"))
    # While one of the two workers is measured, the other must not run.
    native, foreign = [bench.binary("examples/playground")], bench.python_worker("-P", "solo")
    latencies = {OURS: [], PYTHON: [], "PING": []}
    reads = []

    def round_of(name, command, client, count, **order):
        def measure():
            worker = Worker(command)
            # The first posts wait for the worker's start.
            client.order(posts=5, **order)
            _, before = bench.calls()
            answer = client.order(posts=count, **order)
            _, after = bench.calls()
            worker.stop()
            latencies.setdefault(name, []).append(answer["latencies"])
            if name == OURS:
                latencies["PING"].append(answer["pings"])
                reads.append((after - before - len(answer["pings"])) / count)
            done = count - answer["wrong"]
            return Sample(1000 * statistics.median(answer["latencies"]), sent=count, done=done)

        return measure

    systems = {
        OURS: round_of(OURS, native, ours, posts),
        PYTHON: round_of(PYTHON, foreign, python, posts // 5, round_trip=True),
    }
    if bench.celery_php:
        theirs = Client(bench.bare_php("round_trip.php"))
        systems[CELERY_PHP] = round_of(CELERY_PHP, native, theirs, 5)
    table = interleave(Table("Median time from post to result", unit="ms"), systems, bench.rounds)
    # The first round warmed up.
    rounds, pings = latencies[OURS][1:], latencies["PING"][1:]
    trips = [statistics.median(one) / statistics.median(ping) for one, ping in zip(rounds, pings, strict=True)]
    table.goals.append(Goal("P6, the median in Redis round trips", trips, 4, at_most=True, unit=""))
    late = [1000 * percentile(one, 0.99) for one in rounds]
    table.goals.append(Goal("P6, 99 % within", late, 5, at_most=True, unit="ms"))
    # The first round warmed up.
    title = "P9, reads of Redis from its clients, a task, one at a time"
    table.goals.append(Goal(title, reads[1:], 4, at_most=True, unit=""))
    table.notes.append(f"a Redis round trip (PING by phpredis) takes {1e6 * statistics.median(sum(pings, [])):.0f} µs")
    yield table
