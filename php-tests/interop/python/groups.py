"""Saves the results of a group, or restores and awaits those that another program has saved.

groups.py save          posts a group with a chain and a group in it, and prints its id
groups.py restore ID    prints the ids, the parents and the values of a saved group
"""

import json
import sys

from celery import chain, group
from celery.result import GroupResult
from client import WAIT
from proj import add, app, mul


def save():
    result = group(add.s(1, 2), chain(add.s(2, 2), mul.s(10)), group(add.s(5, 5), add.s(6, 6))).apply_async()
    result.save()
    return {"id": result.id, "members": described(result)}


def restore(group_id):
    result = GroupResult.restore(group_id, app=app)
    return result and {"id": result.id, "members": described(result), "values": values(result)}


def described(result):
    """Returns the ids of a result: a group as a list, a task with its parent."""
    if isinstance(result, GroupResult):
        return [described(member) for member in result.results]
    return [result.id, result.parent and result.parent.id]


def values(result):
    if isinstance(result, GroupResult):
        return [values(member) for member in result.results]
    return result.get(timeout=WAIT)


print(json.dumps({"save": save, "restore": restore}[sys.argv[1]](*sys.argv[2:])))
