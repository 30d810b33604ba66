"""`task_created`: updates a row, commits, stores the result, and acknowledges after the commit.

Python's worker runs one UPDATE and one commit for each task over SQLAlchemy. The fastest possible
is a plain client that runs one UPDATE of 500 rows after another.
"""

import statistics
import time
from pathlib import Path

from harness import processors
from harness.measure import Sample, Table, figure, interleave
from harness.systems import drain

OURS = "celery-worker"
POOLS = {"prefork -c 2": 64, "prefork -c 8": 16, "threads -c 10": 16}
LIMIT = "UPDATE of 500 rows, a plain client"


def run(bench):
    many, few = bench.count(50_000, quick=20_000), bench.count(2_000, quick=500)
    # The rows after the counted ones are for warming up.
    create(bench, many + 1000)
    for count in (many, few):
        bench.stage(f"task_created {count}", "task_created", range(1, count + 1))
    times = {OURS: [], LIMIT: []}
    systems = {
        OURS: worker(bench, [bench.binary("celery-worker")], many, times[OURS]),
        LIMIT: plain(bench, many, times[LIMIT]),
    }
    for pool, prefetch in POOLS.items():
        command = bench.python_worker(*f"-P {pool}".split())
        systems[f"Python -P {pool}"] = worker(bench, command, few, [], BENCH_PREFETCH=str(prefetch))
    table = interleave(Table("Worker, task_created on MariaDB, results stored"), systems, bench.rounds)
    bench.sql("DROP TABLE tasks")
    table.want("P5, celery-worker ÷ Python's default prefork", OURS, "Python -P prefork -c 2", 120)
    table.note_best("celery-worker ÷ Python's best", OURS, [name for name in systems if name.startswith("Python")])
    table.want("P5, celery-worker ÷ the limit", OURS, LIMIT, 0.4)
    # The first round warmed up.
    table.notes += [
        f"µs of processor time for each task, {name}: "
        + ", ".join(f"{part} {figure(statistics.median(one[part] for one in kept[1:]))}" for part in kept[-1])
        for name, kept in times.items()
    ]
    yield table


def create(bench, rows):
    """Creates the table of tasks with this number of rows."""
    bench.sql(
        "CREATE TABLE tasks (id int unsigned auto_increment primary key, name varchar(255) not null,"
        " status varchar(255) not null default 'pending', message varchar(255), created_at timestamp null,"
        " updated_at timestamp null)"
    )
    bench.sql(f"INSERT INTO tasks (name, created_at) SELECT 'a task', UTC_TIMESTAMP() FROM seq_1_to_{rows}")
    # Old statistics would show an almost empty table, and an UPDATE of 500 ids would scan all rows.
    bench.sql("ANALYZE TABLE tasks")


def worker(bench, command, count, times, **environment):
    """Returns a function that measures a worker; `times` gets its processor times in each round."""

    def measure():
        reset(bench)
        before = processors.used(database_pid(bench))
        drained = drain(bench, command, f"task_created {count}", count, warm_up="task_created", **environment)
        used = {
            "MariaDB": processors.used(database_pid(bench)) - before,
            "Redis": drained.redis_time,
            "worker": drained.worker_time,
            "the clock": drained.seconds,
        }
        times.append({part: 1e6 * seconds / count for part, seconds in used.items()})
        return Sample(count / drained.seconds, sent=count, done=completed(bench, count))

    return measure


def database_pid(bench):
    return int(Path(bench.sql("SELECT @@pid_file")[0][0]).read_text())


def plain(bench, count, times):
    """Returns a function that measures a plain client; `times` gets its processor times."""

    def measure():
        reset(bench)
        before = processors.used(database_pid(bench))
        begin = time.perf_counter()
        for first in range(1, count + 1, 500):
            ids = ",".join(str(number) for number in range(first, min(first + 500, count + 1)))
            bench.sql(
                "UPDATE tasks SET status = 'completed', message = 'Updated by celery worker!',"
                " updated_at = UTC_TIMESTAMP()"
                f" WHERE id IN ({ids})"
            )
        seconds = time.perf_counter() - begin
        used = {"MariaDB": processors.used(database_pid(bench)) - before, "the clock": seconds}
        times.append({part: 1e6 * spent / count for part, spent in used.items()})
        return Sample(count / seconds, sent=count, done=completed(bench, count))

    return measure


def reset(bench):
    bench.sql("UPDATE tasks SET status = 'pending', message = NULL, updated_at = NULL")


def completed(bench, count):
    return bench.sql(f"SELECT COUNT(*) FROM tasks WHERE id <= {count} AND status = 'completed'")[0][0]
