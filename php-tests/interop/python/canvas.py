"""Posts chains, groups and chords like any Python program; prints results as client.py does."""

import os
import sys
import uuid

from celery import chain, chord, group
from client import WAIT, report
from proj import add, echo, fail, mul, xsum


def get(signature):
    return signature.apply_async().get(timeout=WAIT)


def linked():
    told = str(uuid.uuid4())
    result = add.apply_async((1, 2), link=mul.s(7).set(task_id=told))
    return [result.get(timeout=WAIT), add.AsyncResult(told).get(timeout=WAIT)]


def body_of_failed(*header):
    """Returns the exception of the body; `get` on the body would raise that of the member."""
    error = chord(header, xsum.s()).apply_async().get(timeout=WAIT, propagate=False)
    return {"type": type(error).__name__, "message": str(error)}


CHECKS = {
    "linked": linked,
    "chain": lambda: get(chain(add.s(2, 3), mul.s(4), add.s(1))),
    "group": lambda: get(group(add.s(1, 2), add.s(3, 4))),
    "chain_group": lambda: get(chain(add.s(1, 2), group(add.s(10), add.s(20)))),
    "chord": lambda: get(chord([add.s(1, 2), add.s(3, 4)], xsum.s())),
    "chord_of_one": lambda: get(chord([add.s(1, 2)], xsum.s())),
    "large_chord": lambda: get(chord([add.s(n, 1) for n in range(100)], xsum.s())),
    "chain_group_chain": lambda: get(chain(add.s(1, 2), group(add.s(10), add.s(20)), xsum.s(), mul.s(2))),
    "two_groups": lambda: get(chain(group(add.s(1, 2), add.s(3, 4)), xsum.s(), group(add.s(1), add.s(2)), xsum.s())),
    "header_of_chains": lambda: get(chord([chain(add.s(1, 2), mul.s(3)), add.s(4, 5)], xsum.s())),
    "header_of_groups": lambda: get(chord([group(add.s(1, 2), add.s(3, 4)), add.s(5, 6)], xsum.s())),
    "chord_in_a_header": lambda: get(chord([chord([add.s(1, 1), add.s(2, 2)], xsum.s()), add.s(3, 3)], xsum.s())),
    "body_of_a_chain": lambda: get(chord([add.s(1, 2), add.s(3, 4)], chain(xsum.s(), mul.s(10)))),
    "body_of_a_group": lambda: get(chord([add.s(1, 2), add.s(3, 4)], group(echo.s(1), echo.s(2)))),
    "chord_fails": lambda: body_of_failed(add.s(1, 2), fail.s("alas")),
    "chain_in_a_header_fails": lambda: body_of_failed(chain(fail.s("alas"), mul.s(3)), add.s(4, 5)),
}


if __name__ == "__main__":
    report(CHECKS)
    sys.stdout.flush()
    # Results of groups log errors when Python frees them at exit.
    os._exit(0)
