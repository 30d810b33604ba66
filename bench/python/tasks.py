"""The tasks of the benchmarks for Python's workers, written as is usual in Python.

BENCH_RESULTS=0 stores no results. Messages are acknowledged after the task, as in our worker. Each
process writes a file into the folder BENCH_TALLY when it ends: byte N is how often the task with
number N ran.
"""

import os
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutdown

# BENCH_BROKER names another broker than Redis; the results are in Redis nevertheless.
redis = os.environ["REDIS_URL"]
results = os.environ.get("BENCH_RESULTS") != "0"
app = Celery("bench", broker=os.environ.get("BENCH_BROKER", redis), backend=redis if results else None)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_ignore_result=not results,
    task_default_queue_type=os.environ.get("BENCH_QUEUE_TYPE", "classic"),
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "4")),
    # All features that cost time and are not needed are off.
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
)

runs = bytearray(1 << 21)


@app.task(name="noop")
def noop(number):
    runs[number] += 1


@app.task(name="proj.add")
def add(x, y):
    return x + y


@worker_process_shutdown.connect
@worker_shutdown.connect
def write_runs(**_):
    folder = os.environ.get("BENCH_TALLY")
    if folder and any(runs):
        (Path(folder) / f"{os.getpid()}.runs").write_bytes(runs)


if os.environ.get("DATABASE_URL"):
    from sqlalchemy import create_engine, text

    database = create_engine(os.environ["DATABASE_URL"].replace("mysql://", "mysql+pymysql://", 1))

    @app.task(name="task_created")
    def task_created(task_id):
        """Runs one UPDATE and one commit for each task, over SQLAlchemy's pool of connections."""
        with database.begin() as connection:
            updated = connection.execute(
                text(
                    "UPDATE tasks SET status = 'completed', message = :message, updated_at = UTC_TIMESTAMP()"
                    " WHERE id = :id"
                ),
                {"id": task_id, "message": "Updated by celery worker!"},
            )
            if updated.rowcount == 0:
                raise LookupError(f"no task has the id {task_id}")
        return True
