"""Prints, as a line of JSON each, the `task-sent` events that Celery's receiver hears.

The first one is the event of a task that this program sends itself once it listens.
"""

import json

from celery.events.receiver import EventReceiver
from proj import app


class Receiver(EventReceiver):
    def on_consume_ready(self, *args, **kwargs):
        super().on_consume_ready(*args, **kwargs)
        app.send_task("proj.add", (2, "x"), {"y": None}, queue="heard.python")


if __name__ == "__main__":
    with app.connection_for_read() as connection:
        handlers = {"task-sent": lambda event: print(json.dumps(event), flush=True)}
        Receiver(connection, handlers, app=app).capture(limit=None, timeout=None)
