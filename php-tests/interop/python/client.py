"""Posts tasks like any Python program; prints, as JSON, the result of each check under its name.

The caller runs the checks that need one certain worker; this module does not know which worker
runs.
"""

import contextlib
import itertools
import json
import sys

from celery.exceptions import TaskRevokedError
from proj import app

WAIT = 30


def send(name, *args, **options):
    return app.send_task(name, args, **options)


def failure(result):
    """Returns the exception of a failed task and the last line of its traceback."""
    try:
        result.get(timeout=WAIT)
    except Exception as error:  # the check examines any exception that the worker sends
        return {
            "state": result.state,
            "type": type(error).__name__,
            "message": str(error),
            "traceback": result.traceback,
        }
    return {"state": result.state}


def states_until_ready(result):
    """Returns the states seen, each once, while a result becomes ready."""
    seen = []

    def note(message):
        if message["status"] not in seen:
            seen.append(message["status"])

    value = result.get(timeout=WAIT, on_message=note)
    return {"states": seen, "value": value}


def encodings():
    """Returns the results of calls in each serializer and compression, two of each."""
    pairs = itertools.product(["json", "msgpack", "yaml"], [None, "gzip", "bzip2", "xz", "zstd", "brotli"], range(2))
    results = [send("proj.add", 3, 4, serializer=serializer, compression=how) for serializer, how, _ in pairs]
    return [result.get(timeout=WAIT) for result in results]


def revoked():
    result = send("proj.add", 1, 1, expires=-60)
    with contextlib.suppress(TaskRevokedError):
        result.get(timeout=WAIT)
    return result.state


CHECKS = {
    "add": lambda: send("proj.add", 2, 3).get(timeout=WAIT),
    "keywords": lambda: app.send_task("proj.mul", kwargs={"x": 6, "y": 7}).get(timeout=WAIT),
    "xsum": lambda: send("proj.xsum", [1, 2, 3]).get(timeout=WAIT),
    "echo": lambda: app.send_task("proj.echo", ["žluťoučký 🎉", None, 0.5, [1, {"a": []}]], {"key": "value"}).get(
        timeout=WAIT
    ),
    "fail": lambda: failure(send("proj.fail", "alas")),
    "retrying": lambda: failure(send("proj.retrying")),
    "custom_state": lambda: states_until_ready(send("proj.custom_state")),
    "countdown": lambda: send("proj.add", 1, 1, countdown=1).get(timeout=WAIT),
    "expired": revoked,
    "priority": lambda: send("proj.add", 4, 4, priority=9).get(timeout=WAIT),
    "zlib": lambda: send("proj.add", 5, 5, compression="zlib").get(timeout=WAIT),
    "encodings": encodings,
    "unknown": lambda: failure(send("proj.nobody_knows")),
    "many": lambda: sum(r.get(timeout=WAIT) for r in [send("proj.add", n, 0) for n in range(200)]),
}


def report(checks):
    answers = {}
    for name in sys.argv[1:] or checks:
        try:
            answers[name] = checks[name]()
        except Exception as error:  # reported under the check's name, so that the others still run
            answers[name] = {"error": f"{type(error).__name__}: {error}"}
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    report(CHECKS)
