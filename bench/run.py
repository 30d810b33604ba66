"""Measures our speed, and the speed of other systems at the same work: `make bench`.

    make bench                      all rows: half an hour or more
    make bench QUICK=1              fewer rounds and tasks: some minutes
    make bench ROW="post worker"    these rows only
    make bench OUTPUT=folder        writes RESULTS.md, results.json and plots there too

Runs under `testkit up redis rabbitmq mariadb`. README.md describes the method.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import pymysql
from harness import machine
from harness.broker import Broker
from harness.report import Report
from rows import (
    batch,
    database,
    events,
    fleet,
    fpm,
    growth,
    instructions,
    memory,
    post,
    rabbitmq,
    rabbitmq_worker,
    round_trip,
    sizes,
    worker,
)

HERE = Path(__file__).resolve().parent
# Words in the names of other systems. Tasks that these lose do not make the benchmark fail.
PEERS = ("Python", "rusty-celery", "celery-php", "phpredis", "ext-amqp")
ROWS = {
    "post": post,
    "batch": batch,
    "worker": worker,
    "events": events,
    "database": database,
    "round-trip": round_trip,
    "memory": memory,
    "growth": growth,
    "sizes": sizes,
    "fleet": fleet,
    "fpm": fpm,
    "instructions": instructions,
    "rabbitmq": rabbitmq,
    "rabbitmq-worker": rabbitmq_worker,
}


class Bench(Broker):
    """The common data of all rows: the servers, the programs, and how much is measured."""

    def __init__(self, quick):
        super().__init__()
        self.quick = quick
        self.rounds = 5 if quick else 7
        self.root = HERE.parent
        self.target = Path(os.environ.get("CARGO_TARGET_DIR", self.root / "target")).resolve() / "release"
        self.celery_php = os.environ.get("CELERY_PHP_DIR")
        self.notes = []
        self.database = None

    def count(self, full, quick):
        return quick if self.quick else full

    def say(self, text):
        self.notes.append(text)

    def binary(self, name):
        return self.target / name

    def peer(self, name):
        path = HERE / "target/release" / name
        return path if path.exists() else None

    def php(self, script, *settings):
        """Returns the command of PHP with the extension."""
        return ["php", "-d", f"extension={self.target / 'libcelery.so'}", *settings, HERE / "php" / script]

    def bare_php(self, script):
        """Returns the command of PHP without it."""
        return ["php", HERE / "php" / script]

    def python(self, script):
        return [sys.executable, HERE / "python" / script]

    def python_worker(self, *options):
        """Returns the command of Python's worker, without features that only cost time."""
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
        return [sys.executable, "-m", "celery", "--workdir", HERE / "python", "-A", "tasks", "worker", *quiet, *options]

    def sql(self, statement):
        """Runs a statement as root, over a connection that stays open."""
        if self.database is None:
            self.database = pymysql.connect(
                unix_socket=os.environ["DB_SOCKET"], user="root", database=os.environ["DB_DATABASE"], autocommit=True
            )
        with self.database.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, help="a folder for RESULTS.md, results.json and plots")
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]}; known: {' '.join(ROWS)}")
    bench = Bench(options.quick)
    report = Report(options.output)
    # MySQL's default: a commit is on disk when it is answered.
    bench.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    kind = "quick" if bench.quick else "full"
    report.head(f"A {kind} reading by `make bench`, {bench.rounds} rounds", machine.describe(bench))
    if not bench.celery_php:
        report.write("celery-php is left out: CELERY_PHP_DIR does not name a folder with version 2.1.2 and predis.\n")
    missed, faults = [], []
    for name in options.rows or ROWS:
        begin = time.monotonic()
        for table in ROWS[name].run(bench):
            table.notes += bench.notes
            bench.notes.clear()
            report.add(table)
            missed += [goal for goal in table.goals if not goal.met]
            faults += table.faults()
        bench.redis.flushall()
        report.write(f"_{name}: {time.monotonic() - begin:.0f} s; the load is {machine.load()}_\n")
    report.write(f"{len(missed)} goals missed.\n" + "".join(f"* {goal}\n" for goal in missed))
    ours = [fault for fault in faults if not any(peer in fault for peer in PEERS)]
    report.write("No task was lost or done twice.\n" if not faults else "".join(f"* {fault}\n" for fault in faults))
    if ours:
        sys.exit("bench: tasks of our own were lost or done twice")


if __name__ == "__main__":
    main()
