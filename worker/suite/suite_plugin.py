"""A pytest plugin that runs Celery's integration suite on a worker in another process.

It changes the following in the suite, whose files stay unchanged:

* No worker is embedded: the plugin starts the worker that `SUITE_COMMAND` names, and stops it
  at the end. The tests of `test_inspect.py` and another try of a failed test get a new worker and
  an empty Redis: they look at everything that the worker has, also what other tests left behind.
  So does a test after one that left tasks behind, with our worker: those of the tests of
  `revoke_by_stamped_headers` keep it busy for minutes.
* `inspect().scheduled()` is asked again until the answer names a task. A worker may read the
  request before it takes the message that was sent earlier: upstream repeats the test.
* With our worker `assert_ping` and `wait_until_idle` do nothing: the plugin looks into Redis. With
  Python's worker they take the first answer, because there is only one.
* A wait for a message that must not come takes `ABSENCE` seconds instead of ten. Every other wait
  takes at most `TIMEOUT` seconds instead of sixty. Each test has a limit of `PATIENCE` seconds.
* Only functions with the verdict `runs` in the list are run.
* No garbage is collected during the tests that compare subscriptions before and after a call.
  Results of earlier tests may be in cycles of references. Celery's client subscribes to a result
  until the result is collected, and a collection during the test would take such subscriptions away.
* A test that fails with Python's worker is run once more. Its chords fail with the wrong exception
  once in a hundred times; `worker/src/consumer/members_first.rs` says why. Upstream's own runs
  repeat tests too.

Several runs share the tests: each takes the next test that no other run has taken, so that waits
overlap.
"""

import contextlib
import functools
import gc
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import listing
import pytest
import redis
from celery.utils.nodenames import default_nodename

# Celery's own fixtures, which its `conftest.py` imports in part.
pytest_plugins = ["celery.contrib.pytest"]

# The suite's `conftest.py` reads them.
os.environ["TEST_BROKER"] = os.environ["TEST_BACKEND"] = os.environ["REDIS_URL"]
FOLDER = Path(os.environ["SUITE_FOLDER"])
SHARD = os.environ["SUITE_SHARD"]
OURS = os.environ["SUITE_WORKER"] == "ours"
# The number of attempts for each test.
ATTEMPTS = 1 if OURS else 2
# The seconds until a message that must not come counts as absent. A worker answers in milliseconds.
ABSENCE = 3
# The seconds until a result that must come counts as missing.
TIMEOUT = 30
# The seconds that one test may take: the limit that upstream sets for some of them.
PATIENCE = 300
# The seconds until a worker counts as busy with the tasks of the previous test. It acknowledges
# tasks within milliseconds.
IDLE = 0.5
# The seconds that a worker may take to start and to stop.
START = 60
# The number of last lines of the worker's log that a failure shows.
LOG_LINES = 40
# The number of Redis' keys that a failure shows, and the characters of each.
KEYS = 40
KEY_WIDTH = 300


class Worker:
    """The worker's process and its log."""

    def __init__(self):
        self.log = FOLDER / f"worker-{SHARD}.log"
        with self.log.open("wb") as log:
            command = shlex.split(os.path.expandvars(os.environ["SUITE_COMMAND"]))
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_ready(self):
        deadline = time.monotonic() + START
        while " ready." not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.exit(f"the worker did not start:\n{self.text()}", returncode=3)
            time.sleep(0.05)

    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(START)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def no_embedded_worker(*_, **__):
    yield None


def nothing(*_, **__):
    pass


def pytest_configure(config):
    from celery.app import control
    from celery.contrib.testing import manager, worker

    worker.start_worker = no_embedded_worker
    control.Inspect.scheduled = until_it_names_a_task(control.Inspect.scheduled)
    if OURS:
        manager.ManagerMixin.wait_until_idle = nothing
    else:
        control.Inspect.__init__ = functools.partialmethod(control.Inspect.__init__, limit=1)
    config.pluginmanager.register(Runner(Worker()))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    entries = listing.read(Path(os.environ["SUITE_LIST"]))
    items[:] = [item for item in items if entries[listing.function_of(item.nodeid)].runs]
    # The longest test comes first. Otherwise one run could still be busy with this test after all
    # other runs have ended.
    items.sort(key=lambda item: "flag_allow_error_cb_on_chord_header" not in item.name)
    for item in items:
        item.add_marker(pytest.mark.timeout(PATIENCE), append=False)
    for module in {item.module for item in items}:
        if OURS and hasattr(module, "assert_ping"):
            module.assert_ping = nothing
        if hasattr(module, "TIMEOUT"):
            module.TIMEOUT = min(module.TIMEOUT, TIMEOUT)
        if hasattr(module, "NODENAME"):
            # The suite takes the name of its own process, in which upstream's worker is embedded.
            module.NODENAME = default_nodename(None)
        if hasattr(module, "await_redis_echo"):
            module.await_redis_echo = impatient(module.await_redis_echo)


def impatient(wait):
    """Shortens the ten seconds after which `await_redis_echo` gives up."""

    def shorter(*arguments, **options):
        if "timeout" in options:
            options["timeout"] = min(options["timeout"], ABSENCE)
        return wait(*arguments, **options)

    return shorter


def until_it_names_a_task(scheduled):
    """Repeats `inspect().scheduled()` while its answer is empty, for at most `TIMEOUT` seconds."""

    def repeated(*arguments, **options):
        deadline = time.monotonic() + TIMEOUT
        while True:
            answers = scheduled(*arguments, **options)
            if any((answers or {}).values()) or time.monotonic() > deadline:
                return answers

    return repeated


@contextlib.contextmanager
def steady_subscriptions(item):
    """Prevents that results of earlier tests give up their subscriptions during a test that counts them."""
    if not item.name.endswith(("_subscription", "_subscriptions")):
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def take(node_id):
    """Returns `True` if this run is the first to ask for the test."""
    name = node_id.replace("/", ".")
    try:
        os.close(os.open(FOLDER / f"taken-{name}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def is_busy():
    """Returns `True` if tasks of earlier tests still wait or run after `IDLE` seconds."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    deadline = time.monotonic() + IDLE
    while client.llen("celery") or client.zcard("unacked_index"):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def contents():
    """Returns a line for each key of Redis with the start of its value: is a message or a result still there?"""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    readers = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, 9),
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, 9, withscores=True),
    }
    lines = []
    for key in sorted(client.keys())[:KEYS]:
        value = readers.get(client.type(key), client.type)(key)
        lines.append(f"  {key.decode(errors='replace')}: {value!r}"[:KEY_WIDTH])
    return lines


class Runner:
    """Runs the tests on a worker and reports their outcomes."""

    def __init__(self, worker):
        self.worker = worker
        self.attempt = 0

    def pytest_runtestloop(self, session):
        """Runs every test that no other run has taken yet."""
        self.worker.wait_until_ready()
        for item in session.items:
            if take(item.nodeid):
                self.run(item, session)
        return True

    def run(self, item, session):
        """Runs a test, and again if it failed and another try is left."""
        for self.attempt in range(ATTEMPTS):
            if self.attempt > 0 or item.path.name == "test_inspect.py" or (OURS and is_busy()):
                self.renew()
            failed = session.testsfailed
            with steady_subscriptions(item):
                # With the session as the next item, pytest keeps only the fixtures of the session.
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=session)
            if session.testsfailed == failed:
                return

    def renew(self):
        """Replaces the worker by a new one, and empties Redis meanwhile."""
        self.worker.stop()
        redis.Redis.from_url(os.environ["REDIS_URL"]).flushall()
        self.worker = Worker()
        self.worker.wait_until_ready()

    def pytest_runtest_logreport(self, report):
        told = {
            "test": report.nodeid,
            "attempt": self.attempt,
            "when": report.when,
            "outcome": report.outcome,
            "text": self.text(report),
        }
        with (FOLDER / f"report-{SHARD}").open("a") as file:
            file.write(json.dumps(told) + "\n")

    def text(self, report):
        """Returns why a test was skipped, or how it failed, with what Redis holds and the worker's last log lines."""
        if hasattr(report, "wasxfail"):
            return f"expected to fail: {report.wasxfail}"
        if report.skipped:
            return report.longrepr[2].removeprefix("Skipped: ")
        if report.failed:
            log = self.worker.text().splitlines()[-LOG_LINES:]
            return "\n".join(["Redis holds:", *contents(), "the worker's log:", *log, report.longreprtext])
        return ""

    def pytest_sessionfinish(self):
        self.worker.stop()
