"""Workers on RabbitMQ: tasks that do nothing, with and without results in Redis, and `task_created`.

Each round fills a queue and then starts a worker. The clock starts with the first message taken. With
`task_created` it runs until the last row is written. Otherwise it runs until the queue is empty and
the worker has become idle, because a client cannot ask RabbitMQ for messages without an
acknowledgement.

The fastest possible is a bare consumer over lapin, which acknowledges a hundred messages at a time.
"""

import contextlib
import json
import os
import tempfile
import time
import uuid
from pathlib import Path

import amqp
from celery import Celery
from harness import processors
from harness.broker import NUMBER, TASK_ID
from harness.measure import Sample, Table, figure, interleave
from harness.systems import STALLED, Worker

from . import database

QUEUE = "celery"
QUEUES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}
OURS = "celery-worker"
PYTHON = "Python -P prefork -c 2"
LIMIT = "a bare consumer"
# The seconds without work after which a worker is idle.
IDLE = 0.3
SWEPT = [1, 4, 16, 64, 256]


def run(bench):
    with amqp.Connection(f"127.0.0.1:{os.environ['AMQP_PORT']}") as connection:
        channel = connection.channel()
        for kind, arguments in QUEUES.items():
            channel.queue_delete(QUEUE)
            channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments=arguments)
            drains = Drains(bench, channel, kind)
            yield drains.without_results()
            yield drains.with_results()
            if kind == "quorum":
                yield drains.task_created()
        channel.queue_delete(QUEUE)


class Drains:
    """The measurements on one kind of queue."""

    def __init__(self, bench, channel, kind):
        self.bench = bench
        self.channel = channel
        self.kind = kind
        self.many, self.few = bench.count(50_000, quick=20_000), bench.count(5_000, quick=1_000)

        self.prefetch = 64
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.settings_file = Path(self.folder.name) / "worker.toml"
        self.settings_file.write_text("[annotations.'proj.alone']\nunique = 0\n")

    def without_results(self):
        if not self.bench.quick:
            speeds = {number: self.python("0", number)().value for number in SWEPT}
            self.prefetch = max(speeds, key=speeds.get)
            self.bench.say(
                f"{PYTHON}: " + ", ".join(f"prefetch {number}: {figure(speed)}" for number, speed in speeds.items())
            )
        systems = {OURS: self.ours("--result-backend", "disabled"), PYTHON: self.python("0", self.prefetch)}
        if lapin := self.bench.peer("bench-lapin"):
            systems[LIMIT] = self.draining([lapin], "noop", self.many)
        table = self.table("no results", systems)
        table.want("Q4, celery-worker ÷ Python prefork", OURS, PYTHON, 4)
        table.want("Q4, celery-worker ÷ a bare consumer", OURS, LIMIT, 0.6)
        return table

    def with_results(self):
        systems = {
            OURS: self.ours("--result-backend", os.environ["REDIS_URL"]),
            PYTHON: self.python("1", self.prefetch),
        }
        table = self.table("results in Redis", systems)
        table.want("Q5, celery-worker ÷ Python prefork, with results", OURS, PYTHON, 4)
        return table

    def task_created(self):
        many, few = self.bench.count(20_000, quick=5_000), self.bench.count(1_000, quick=300)
        database.create(self.bench, many)
        ours = [self.bench.binary("celery-worker"), "--result-backend", os.environ["REDIS_URL"]]
        systems = {
            OURS: self.updating(ours, many),
            PYTHON: self.updating(self.python_worker(), few, **self.settings("1")),
        }
        title = f"Worker on RabbitMQ, task_created on MariaDB, {self.kind} queue"
        table = interleave(Table(title), systems, self.bench.rounds)
        self.bench.sql("DROP TABLE tasks")
        table.want("Q6, celery-worker ÷ Python prefork, task_created", OURS, PYTHON, 10)
        return table

    def table(self, what, systems):
        title = f"Worker on RabbitMQ, tasks that do nothing, {what}, {self.kind} queue"
        return interleave(Table(title), systems, self.bench.rounds)

    def ours(self, *options):
        """Measures celery-worker. One task of the example is unique, which needs Redis, so the
        settings say that it is not.
        """
        command = [self.bench.binary("examples/playground"), "--config", self.settings_file, *options]
        return self.draining(command, "noop", self.many)

    def python(self, results, prefetch):
        return self.draining(self.python_worker(), "noop", self.few, **self.settings(results, prefetch))

    def python_worker(self):
        return self.bench.python_worker("-P", "prefork", "-c", "2")

    def settings(self, results, prefetch=None):
        return {
            "BENCH_BROKER": os.environ["AMQP_URL"],
            "BENCH_QUEUE_TYPE": self.kind,
            "BENCH_RESULTS": results,
            "BENCH_PREFETCH": str(prefetch or self.prefetch),
        }

    def draining(self, command, task, count, **environment):
        """Returns a function that measures a worker on a full queue, for `interleave`."""

        def measure():
            self.fill(task, range(count))
            with self.running(command, **environment) as worker:
                begin = self.wait_until(lambda left: left < count, worker)
                self.wait_until(lambda left: left == 0, worker)
                end = idle_since(worker)
            runs = worker.runs(count)
            done = count - runs.count(0)
            return Sample(count / (end - begin), sent=count, done=done, twice=sum(runs) - done)

        return measure

    def updating(self, command, count, **environment):
        """Like `draining`, for `task_created`: until the last row is written."""

        def measure():
            database.reset(self.bench)
            self.fill("task_created", range(1, count + 1))
            with self.running(command, **environment) as worker:
                begin = self.wait_until(lambda left: left < count, worker)
                while (done := database.completed(self.bench, count)) < count and time.perf_counter() < begin + STALLED:
                    worker.check()
                    time.sleep(0.005)
                end = time.perf_counter()
            return Sample(count / (end - begin), sent=count, done=done)

        return measure

    @contextlib.contextmanager
    def running(self, command, **environment):
        """Runs a worker meanwhile."""
        self.bench.redis.flushdb()
        worker = Worker(command, CELERY_BROKER_URL=os.environ["AMQP_URL"], **environment)
        try:
            yield worker
        finally:
            worker.stop()

    def fill(self, task, numbers):
        """Fills the queue with messages of `task(number)`."""
        self.channel.queue_purge(QUEUE)
        for message in messages(task, numbers):
            self.channel.basic_publish(message, routing_key=QUEUE)
        # The server takes messages in later than they are written.
        while self.left() < len(numbers):
            time.sleep(0.01)

    def left(self):
        return self.channel.queue_declare(QUEUE, passive=True).message_count

    def wait_until(self, holds, worker):
        """Waits until `holds` returns true for the number of messages that wait; returns that time."""
        deadline = time.perf_counter() + STALLED
        while True:
            before = time.perf_counter()
            if holds(self.left()) or before > deadline:
                return before
            worker.check()
            time.sleep(0.002)


def idle_since(worker):
    """Waits until a worker uses no processor for a moment; returns when it became idle."""
    since, before = time.perf_counter(), processors.used(worker.process.pid)
    while time.perf_counter() < since + IDLE:
        time.sleep(0.01)
        used = processors.used(worker.process.pid)
        # One tick is what a worker without work uses.
        if used > before + 1.5 / processors.TICKS:
            since, before = time.perf_counter(), used
    return since


def messages(task, numbers):
    """Yields a message of `task(number)` for each number, as Python Celery sends it."""
    app = Celery(broker="memory://")
    sample = app.amqp.as_task_v2(TASK_ID, task, args=[NUMBER])
    headers, body = (json.dumps(part) for part in (sample.headers, sample.body))
    for number in numbers:
        task_id = str(uuid.uuid4())
        ours = json.loads(headers.replace(TASK_ID, task_id).replace(str(NUMBER), str(number)))
        yield amqp.Message(
            body.replace(str(NUMBER), str(number)),
            content_type="application/json",
            content_encoding="utf-8",
            application_headers=ours,
            delivery_mode=2,
            correlation_id=task_id,
        )
