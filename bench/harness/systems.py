"""The measured processes: clients, which post when ordered, and workers, which drain a queue."""

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import processors
from .broker import QUEUE
from .measure import Sample

# The seconds without progress after which a worker is given up, and its remaining tasks count as
# lost.
STALLED = 60
WARM_UP = 200


class Client:
    """A process that takes orders as JSON lines."""

    def __init__(self, command, **environment):
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(
            self.command,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise SystemExit(f"bench: {' '.join(self.command)}: {line}{self.process.stdout.read()}")
        return json.loads(line)

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def posting(broker, client, posts, same_bytes=False, **order):
    """Returns a function for `interleave` that measures how many posts a client makes in a second,
    into an empty queue.

    A program that pushes the same bytes again and again has no task ids, so its messages are only
    counted.
    """

    def run():
        broker.redis.delete(QUEUE)
        answer = client.order(posts=posts, **order)
        count = broker.redis.llen(QUEUE)
        ids = count if same_bytes else broker.queued_ids()
        broker.redis.delete(QUEUE)
        return Sample(posts / answer["seconds"], posts, ids, count - ids, answer["processor"])

    return run


class Worker:
    """A running worker. Its output is kept in case it fails."""

    def __init__(self, command, **environment):
        self.command = [str(part) for part in command]
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.log = Path(self.folder.name) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                env=os.environ
                | {"CELERY_BROKER_URL": os.environ["REDIS_URL"], "BENCH_TALLY": self.folder.name}
                | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self):
        if self.process.poll() is not None:
            raise SystemExit(f"bench: {' '.join(self.command)} ended by itself\n{self.log.read_text()}")

    def stop(self):
        """Stops the worker with a warm shutdown, in which it writes its counts."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def runs(self, count):
        """Returns how often each of the first `count` numbers ran, over all its processes."""
        total = bytes(count)
        for file in Path(self.folder.name).glob("*.runs"):
            runs = file.read_bytes()[:count]
            total = runs if not any(total) else bytes(a + b for a, b in zip(total, runs, strict=False))
        return total

    def resident(self):
        """Returns its resident memory in bytes, with its children's."""
        pids = [self.process.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += map(int, children)
        lines = "".join(Path(f"/proc/{pid}/status").read_text() for pid in pids).splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@dataclass
class Drained:
    """The measurements of a worker that emptied a queue."""

    seconds: float
    left: int
    calls: dict
    reads: int
    worker: Worker
    # The seconds of processor time of the worker with its children, and of Redis.
    worker_time: float
    redis_time: float


def drain(broker, command, stage, count, warm_up="noop", **environment):
    """Starts a worker, lets it run a few tasks and gives it a full queue.

    Measures from the first task taken to the last one acknowledged. The worker is stopped on
    return.
    """
    broker.redis.flushdb()
    worker = Worker(command, **environment)
    try:
        # The tasks for warming up have numbers above those of the measured tasks.
        broker.redis.lpush(QUEUE, *broker.messages.make(warm_up, range(count + 1, count + 1 + WARM_UP)))
        wait_until_empty(broker, [worker])
        broker.prepare(stage)
        before, reads_before = broker.calls()
        pids = worker.process.pid, broker.redis_pid
        used_before = [processors.used(pid) for pid in pids]
        broker.release()
        begin = wait_until_begun(broker, worker, count)
        end, left = wait_until_empty(broker, [worker])
        used = [processors.used(pid) - seconds for pid, seconds in zip(pids, used_before, strict=True)]
        after, reads = broker.calls()
    finally:
        worker.stop()
    calls = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
    return Drained(end - begin, left, calls, reads - reads_before, worker, *used)


def wait_until_begun(broker, worker, count):
    """Waits until the worker takes its first message; returns that time, at which the clock starts."""
    released = time.perf_counter()
    while True:
        before = time.perf_counter()
        if broker.left()[0] < count or before > released + STALLED:
            return before
        worker.check()
        time.sleep(0.0005)


def wait_until_empty(broker, workers, queues=(QUEUE,)):
    """Waits until all messages are done or progress stops; returns the time and the number of messages left."""
    last, moved = None, time.perf_counter()
    while True:
        left = sum(broker.left(queues))
        now = time.perf_counter()
        if left == 0:
            # If a worker takes a message in two steps, no key holds the message between them.
            time.sleep(0.002)
            if sum(broker.left(queues)) == 0:
                return now, 0
        if left != last:
            last, moved = left, now
        elif now > moved + STALLED:
            return moved, left
        for worker in workers:
            worker.check()
        time.sleep(0.002 if left < 5000 else 0.01)


def draining(broker, command, stage, count, kept=None, **environment):
    """Returns a function that measures a worker on a full queue, for `interleave`; `kept` gets each `Drained`."""

    def run():
        drained = drain(broker, command, stage, count, **environment)
        runs = drained.worker.runs(count)
        if kept is not None:
            kept.append(drained)
        done = count - runs.count(0)
        return Sample(count / drained.seconds, sent=count, done=done, twice=sum(runs) - done)

    return run
