"""Processors: pins processes to them, and reads the time that processes used.

If a client and Redis share a processor, a post takes as long as the work of both. On processors of
their own, an idle machine has to wake each of them, which takes longer than the work. A scheduler
that chooses freely changes between the two from round to round.
"""

import os
from dataclasses import dataclass
from pathlib import Path

# Clock ticks a second, in which the kernel counts processor time.
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Regime:
    """The processors of Redis and of its client."""

    name: str
    redis: set
    client: set


def regimes():
    """Returns the regimes that this machine has: the second one needs two processors."""
    first, *others = sorted(os.sched_getaffinity(0))
    found = [Regime("same processor", {first}, {first})]
    if others:
        found.append(Regime("other processor", {first}, {others[0]}))
    return found


def pin(pid, processors):
    """Pins a process with its threads."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


def used(pid):
    """Returns the seconds of processor time of a process with its running children."""
    pids = [pid]
    for one in pids:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            pids += map(int, children.read_text().split())
    # The name of the program, which may hold spaces, ends with the last parenthesis.
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in pids]
    return sum(int(user) + int(system) for *_, user, system in (field[:13] for field in fields)) / TICKS
