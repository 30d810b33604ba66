"""The tasks of the application for a Python worker: the built-in task `task_created` of
`celery-worker`, and the tasks of the page /work, as in worker/examples/work_page.rs.

CELERY_BROKER_URL=redis://… DATABASE_URL=mysql://… celery -A worker worker
"""

import os
import time

from celery import Celery
from sqlalchemy import create_engine, text

broker = os.environ["CELERY_BROKER_URL"]
app = Celery("tasks", broker=broker, backend=os.environ.get("CELERY_RESULT_BACKEND", broker))
app.conf.broker_connection_retry_on_startup = True
# The page shows which worker ran a task that failed.
app.conf.result_extended = True

database = create_engine(os.environ["DATABASE_URL"].replace("mysql://", "mysql+pymysql://", 1), pool_pre_ping=True)

# The steps of demo.long, and how many twentieths of the time each takes.
STEPS = [
    ("Read the orders", 3),
    ("Check the addresses", 4),
    ("Add up", 2),
    ("Draw the charts", 7),
    ("Write the report", 4),
]
TICKS = 20


@app.task(name="task_created")
def task_created(task_id):
    with database.begin() as connection:
        updated = connection.execute(
            text(
                "UPDATE tasks SET status = 'completed', message = :message, updated_at = CURRENT_TIMESTAMP"
                " WHERE id = :id"
            ),
            {"id": task_id, "message": "Updated by celery worker!"},
        )
        if updated.rowcount == 0:
            raise LookupError(f"no task has the id {task_id}")
    return True


def report(task, began, value):
    """Returns what a task returns: its value, and who computed it."""
    seconds = time.monotonic() - began
    return {"value": value, "worker": task.request.hostname, "language": "Python", "seconds": seconds}


@app.task(name="demo.long", bind=True)
def long(self, seconds):
    """Works in steps and reports its progress. Takes `seconds` in all."""
    began, ticks, done = time.monotonic(), 0, []
    for name, length in STEPS:
        step = time.monotonic()
        for _ in range(length):
            progress = {"percent": ticks * 100 // TICKS, "step": name, "steps": done}
            meta = {**progress, "worker": self.request.hostname, "language": "Python"}
            self.update_state(state="PROGRESS", meta=meta)
            time.sleep(seconds / TICKS)
            ticks += 1
        done.append({"name": name, "seconds": time.monotonic() - step})
    return report(self, began, done)


@app.task(name="demo.fail")
def fail(order):
    """Fails."""
    raise LookupError(f"order {order} has no address")


@app.task(name="demo.square", bind=True)
def square(self, n, seconds):
    """Returns the square of a number. Takes `seconds`."""
    began = time.monotonic()
    time.sleep(seconds)
    return report(self, began, n * n)


@app.task(name="demo.sum", bind=True)
def add_up(self, members):
    """Adds up the squares of a chord."""
    began = time.monotonic()
    return report(self, began, sum(member["value"] for member in members))


# Acknowledged when it has ended, as all tasks of the Rust worker are: a Python worker acknowledges
# a task before it begins, unless it is told otherwise.
@app.task(name="demo.item", bind=True, acks_late=True)
def item(self, item_id, milliseconds):
    """Completes a row of `items`. Counts how often it began."""
    with database.begin() as connection:
        connection.execute(text("UPDATE items SET runs = runs + 1 WHERE id = :id"), {"id": item_id})
    time.sleep(milliseconds / 1000)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE items SET worker = :worker, done_at = UTC_TIMESTAMP(3) WHERE id = :id AND done_at IS NULL"),
            {"id": item_id, "worker": self.request.hostname},
        )
