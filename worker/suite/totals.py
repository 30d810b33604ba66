"""The outcomes of the suite's functions, from the reports of the plugin to the line of totals."""

import collections
from dataclasses import dataclass, field

import listing


@dataclass
class Outcome:
    """The outcome of one test function on one worker: of all its tests if it has parameters."""

    ran: bool = False
    failures: list = field(default_factory=list)
    skips: list = field(default_factory=list)

    def add(self, report):
        self.ran = self.ran or report["when"] == "call" or report["outcome"] != "passed"
        if report["outcome"] == "failed":
            self.failures.append(f"{report['test']} ({report['when']})\n{report['text']}")
        elif report["outcome"] == "skipped":
            self.skips.append(report["text"])


def outcomes(reports):
    """Returns the outcome of each function, by its name, from the last attempt of each test."""
    last = {}
    for report in reports:
        last[report["test"]] = max(report["attempt"], last.get(report["test"], 0))
    found = collections.defaultdict(Outcome)
    for report in reports:
        if report["attempt"] == last[report["test"]]:
            found[listing.function_of(report["test"])].add(report)
    return found


@dataclass
class Totals:
    """The counts, which are printed as they grow."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    # The number of times that each reason for skipping was given.
    reasons: collections.Counter = field(default_factory=collections.Counter)

    def fail(self, what):
        self.failed += 1
        print(f"FAIL {what}")

    def skip(self, name, reason):
        self.skipped += 1
        self.reasons[reason] += 1
        print(f"skip {name}: {reason}")

    def add(self, name, outcome):
        """Counts one function that should have run."""
        if outcome.failures:
            self.fail("\n".join([name, *outcome.failures]))
        elif not outcome.ran:
            self.fail(f"{name} was not run")
        elif outcome.skips:
            self.skip(name, outcome.skips[0])
        else:
            self.passed += 1
            print(f"ok   {name}")

    def print(self):
        print()
        for reason, times in self.reasons.most_common():
            print(f"skipped {times}: {reason}")
        print(f"integration: {self.passed} passed, {self.failed} failed, {self.skipped} skipped")
