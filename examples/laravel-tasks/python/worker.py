"""The worker's own task `task_created`, written for a Python worker.

CELERY_BROKER_URL=redis://… DATABASE_URL=mysql://… celery -A worker worker
"""

import os

from celery import Celery
from sqlalchemy import create_engine, text

broker = os.environ["CELERY_BROKER_URL"]
app = Celery("tasks", broker=broker, backend=os.environ.get("CELERY_RESULT_BACKEND", broker))
app.conf.broker_connection_retry_on_startup = True

database = create_engine(os.environ["DATABASE_URL"].replace("mysql://", "mysql+pymysql://", 1), pool_pre_ping=True)


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
