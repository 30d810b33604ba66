"""Describes the machine and the versions that were measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def describe(bench):
    """Returns the lines to print above the results."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    redis = bench.redis.info("server")["redis_version"]
    return [
        f"{os.cpu_count()} × {cpu}, {memory:.0f} GB, Linux {platform.release()}; load average before: {load()}",
        f"Redis {redis}, without persistence, on the loopback interface of the same machine",
        "MariaDB " + bench.sql("SELECT VERSION()")[0][0] + ", a commit is on disk when it is answered",
        "PHP "
        + output("php", "-n", "-r", "echo PHP_VERSION;")
        + ", phpredis "
        + output("php", "-r", "echo phpversion('redis');"),
        f"Python {platform.python_version()}: Celery {version('celery')}, kombu {version('kombu')}, "
        f"redis-py {version('redis')}, "
        f"SQLAlchemy {version('SQLAlchemy')}, PyMySQL {version('PyMySQL')}",
        "this project at " + output("git", "-C", str(bench.root), "describe", "--always", "--dirty"),
    ]


def load():
    return Path("/proc/loadavg").read_text().split()[0]


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or "?"
    except (OSError, subprocess.CalledProcessError):
        return "?"
