"""The cost of a task in queues of different lengths, and with more bytes: our worker alone."""

import statistics

from harness.measure import Goal, Table, figure, interleave
from harness.systems import draining

BODIES = {"64 B": 64, "1 KiB": 1 << 10, "64 KiB": 64 << 10}


def run(bench):
    command = [bench.binary("examples/playground"), "--result-backend", "disabled"]
    lengths = [1_000, 10_000, 100_000] + ([] if bench.quick else [1_000_000])
    rounds = min(bench.rounds, 5)
    systems = {}
    for count in lengths:
        bench.stage(f"noop {count}", "noop", range(count))
        systems[f"{count:,} queued"] = draining(bench, command, f"noop {count}", count)
    table = interleave(Table("Worker, queues of different lengths"), systems, rounds)
    for length in lengths[2:]:
        title = f"P10, {length:,} queued ÷ 10,000 queued"
        table.goals.append(Goal(title, table.ratios(f"{length:,} queued", "10,000 queued"), 0.8))
    # This ratio is not a goal: a thousand tasks take only a few milliseconds, and noticing their
    # end takes a part of that.
    table.notes.append(
        f"1,000 queued ÷ 10,000 queued: {figure(statistics.median(table.ratios('1,000 queued', '10,000 queued')))} ×"
    )
    yield table

    systems = {}
    for lists, queues in {"4 lists": 1, "200 lists": 50}.items():
        names = ",".join(["celery", *(f"empty-{number}" for number in range(1, queues))])
        systems[lists] = draining(bench, [*command, "-Q", names], "noop 100000", 100_000)
    table = interleave(Table("Worker, one full queue among several"), systems, rounds)
    table.goals.append(Goal("P10, 200 lists ÷ 4 lists", table.ratios("200 lists", "4 lists"), 0.8))
    yield table

    count = bench.count(5_000, quick=1_000)
    systems = {}
    for name, size in BODIES.items():
        bench.stage(f"noop {count} of {name}", "noop", range(count), size)
        systems[f"argument of {name}"] = draining(bench, command, f"noop {count} of {name}", count)
    table = interleave(Table("Worker, tasks of different sizes"), systems, rounds)
    large = [value * 64 / 1024 for value in table.values("argument of 64 KiB")]
    table.goals.append(Goal("P10, bytes of 64 KiB arguments a second", large, 500, unit="MiB"))
    yield table
