"""Workers drain a full queue of tasks that do nothing, with and without the events of each task.

No program receives the events, so Redis drops them. Both workers build and publish them nevertheless.
"""

from harness.measure import Table, interleave
from harness.systems import draining

OURS = "celery-worker"
PYTHON = "Python -P prefork -c 2"


def run(bench):
    many, few = bench.count(200_000, quick=50_000), bench.count(3_000, quick=800)
    for count in (many, few):
        bench.stage(f"noop {count}", "noop", range(count))
    systems = {}
    for option in ((), ("-E",)):
        ours = [bench.binary("examples/playground"), "--result-backend", "disabled", *option]
        python = bench.python_worker("-P", "prefork", "-c", "2", *option)
        systems[" ".join([OURS, *option])] = draining(bench, ours, f"noop {many}", many)
        systems[" ".join([PYTHON, *option])] = draining(
            bench, python, f"noop {few}", few, BENCH_PREFETCH="64", BENCH_RESULTS="0"
        )
    table = interleave(Table("Worker, tasks that do nothing, with events"), systems, bench.rounds)
    table.want("P3, with events ÷ without", f"{OURS} -E", OURS, 0.7)
    table.note_best("Python, with events ÷ without", f"{PYTHON} -E", [PYTHON])
    yield table
