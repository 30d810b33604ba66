"""The list of the suite's test functions, `tests.toml`, and its check against the suite.

A function is named by file, class and name (`test_canvas.py::test_chain::test_simple_chain`). Its
tests with different parameters are parts of one function.
"""

import ast
import tomllib
from dataclasses import dataclass

# The verdicts of the list, and whether a reason must follow.
VERDICTS = {"runs": False, "waits for": True, "not applicable": True, "fails here": True}


@dataclass(frozen=True)
class Entry:
    """The verdict of the list on one function."""

    verdict: str
    reason: str = ""

    @property
    def runs(self):
        return self.verdict == "runs"

    def __str__(self):
        return f"{self.verdict}: {self.reason}" if self.reason else self.verdict


def read(path):
    """Returns the entries by the names of functions; raises ValueError on one without a verdict."""
    entries = {}
    for group, members in tomllib.loads(path.read_text()).items():
        for name, text in members.items():
            entries[f"{group}::{name}"] = parse(f"{group}::{name}", text)
    return entries


def parse(name, text):
    """Parses one line of the list."""
    verdict, _, reason = (part.strip() for part in text.partition(":"))
    if verdict not in VERDICTS:
        raise ValueError(f"{name}: {verdict!r} is not one of {', '.join(VERDICTS)}")
    if bool(reason) != VERDICTS[verdict]:
        raise ValueError(f"{name}: {verdict!r} {'takes no' if reason else 'needs a'} reason")
    return Entry(verdict, reason)


def functions(path):
    """Returns the names of the test functions in a file, read from its text as pytest would collect them."""
    found = []

    def look(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("test_"):
                look(node.body, f"{prefix}::{node.name}")
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                found.append(f"{prefix}::{node.name}")

    look(ast.parse(path.read_text(), path.name).body, path.name)
    return found


def differences(entries, found):
    """Returns a complaint for each function that is in one of the two only, or twice in the suite."""
    complaints = [f"{name} is in the suite and not in the list" for name in found if name not in entries]
    complaints += [f"{name} is in the list and not in the suite" for name in entries if name not in found]
    complaints += [f"{name} is in the suite twice" for name in sorted(set(found)) if found.count(name) > 1]
    return complaints


def function_of(node_id):
    """Returns the name of the function that one of pytest's node ids belongs to."""
    path, *rest = node_id.partition("[")[0].split("::")
    return "::".join([path.rpartition("/")[2], *rest])
