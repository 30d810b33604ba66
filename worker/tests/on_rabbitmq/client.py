"""Reads replies of a worker as a client of Celery 5.7, and prints what it read as JSON.

The argument is the queue of the worker.
"""

import json
import os
import sys

from celery import Celery, chain, chord, group

app = Celery("client", broker=os.environ["BROKER_URL"], backend="rpc://")
app.conf.accept_content = ["json", "msgpack", "yaml"]
app.conf.task_default_queue = sys.argv[1]
LONG = 60


def signature(name, *args, **options):
    return app.signature(f"proj.{name}", args=args, options=options)


def ended(result):
    """Returns the state of a task that has ended, and its result or exception."""
    value = result.get(timeout=LONG, propagate=False)
    if isinstance(value, BaseException):
        value = [type(value).__name__, *map(str, value.args)]
    return [result.state, value]


def states(result):
    """Returns all states of a task."""
    seen = []
    result.get(timeout=LONG, propagate=False, on_message=lambda meta: seen.append(meta["status"]))
    return seen


def refused(canvas):
    """Returns why a canvas cannot be called."""
    try:
        canvas.apply_async()
    except NotImplementedError as error:
        return str(error)
    return None


add = signature("add", 2, 3)
steps = chain(add, signature("add", 4)).apply_async()
broken = chain(signature("fail", "first"), signature("add", 4)).apply_async()
print(
    json.dumps(
        {
            "success": ended(add.apply_async()),
            "failure": ended(signature("fail", "alas").apply_async()),
            "unknown": ended(signature("none").apply_async())[0],
            "revoked": ended(signature("add", 1, 1, countdown=1, expires=0.5).apply_async())[0],
            "states": states(signature("custom_state").apply_async()),
            "retries": states(signature("retrying").apply_async()),
            "many": group(signature("add", n, n) for n in range(100)).apply_async().get(timeout=LONG),
            "chain": [ended(steps), ended(steps.parent)],
            "broken chain": ended(broken),
            "chord": refused(chord([add, add], signature("xsum"))),
        }
    )
)
