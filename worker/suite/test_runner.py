"""Tests of the modules that read the list of the suite's functions and count the outcomes."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import listing
from totals import Outcome, Totals, outcomes

SUITE = """
def helper(): pass
def test_alone(): pass
class helpers:
    def test_not_collected(self): pass
class test_chain:
    def check(self): pass
    def test_first(self): pass
    async def test_second(self): pass
"""
FOUND = ["test_x.py::test_alone", "test_x.py::test_chain::test_first", "test_x.py::test_chain::test_second"]


def report(outcome, when="call", text="", attempt=0, test="test_x.py::test_alone[1]"):
    return {"test": test, "when": when, "outcome": outcome, "text": text, "attempt": attempt}


def counted(*reports):
    """Returns the totals of one function with these reports, and what was printed."""
    outcome, totals, printed = Outcome(), Totals(), io.StringIO()
    for one in reports:
        outcome.add(one)
    with contextlib.redirect_stdout(printed):
        totals.add("test_x.py::test_alone", outcome)
    return (totals.passed, totals.failed, totals.skipped), printed.getvalue()


class ListTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def test_an_entry_says_whether_its_function_runs(self):
        path = self.file("list", '["test_x.py::test_chain"]\ntest_a = "runs"\ntest_b = "waits for: revoke"\n')
        entries = listing.read(path)
        self.assertEqual([str(entry) for entry in entries.values()], ["runs", "waits for: revoke"])
        self.assertEqual([entry.runs for entry in entries.values()], [True, False])

    def test_an_entry_that_says_nothing_is_refused(self):
        for text in [
            "",
            "run",
            "runs: sometimes",
            "waits for",
            "waits for:",
            "not applicable",
            "fails here: ",
            "skipped",
        ]:
            with self.subTest(text), self.assertRaises(ValueError):
                listing.parse("test_x.py::test_a", text)

    def test_functions_are_those_that_pytest_collects(self):
        self.assertEqual(listing.functions(self.file("test_x.py", SUITE)), FOUND)

    def test_a_list_that_fits_has_no_complaint(self):
        self.assertEqual(listing.differences(dict.fromkeys(FOUND), FOUND), [])

    def test_a_renamed_entry_is_missing_and_unknown(self):
        entries = dict.fromkeys([*FOUND[:2], "test_x.py::test_chain::test_renamed"])
        self.assertEqual(
            listing.differences(entries, FOUND),
            [
                "test_x.py::test_chain::test_second is in the suite and not in the list",
                "test_x.py::test_chain::test_renamed is in the list and not in the suite",
            ],
        )

    def test_a_missing_entry_another_class_and_another_file_are_complaints(self):
        self.assertEqual(len(listing.differences(dict.fromkeys(FOUND[1:]), FOUND)), 1)
        for other in ["test_x.py::test_group::test_second", "test_y.py::test_chain::test_second"]:
            self.assertEqual(len(listing.differences(dict.fromkeys([*FOUND[:2], other]), FOUND)), 2)

    def test_a_function_defined_twice_is_a_complaint(self):
        self.assertEqual(len(listing.differences(dict.fromkeys(FOUND), [*FOUND, FOUND[0]])), 1)

    def test_parameters_are_parts_of_one_function(self):
        name = "test_x.py::test_chain::test_first"
        for node in [name, f"t/integration/{name}", f"{name}[a]", f"t/integration/{name}[a::b/c[1]]"]:
            self.assertEqual(listing.function_of(node), name)


class TotalsTest(unittest.TestCase):
    def test_a_function_passes_if_all_its_tests_do(self):
        self.assertEqual(counted(report("passed", "setup"), report("passed"), report("passed"))[0], (1, 0, 0))

    def test_one_failure_in_any_phase_is_enough(self):
        for when in ["setup", "call", "teardown"]:
            totals, printed = counted(report("passed"), report("failed", when, "boom"), report("passed"))
            self.assertEqual(totals, (0, 1, 0))
            self.assertIn("boom", printed)

    def test_a_function_that_was_not_run_fails(self):
        self.assertEqual(counted()[0], (0, 1, 0))
        self.assertEqual(counted(report("passed", "setup"))[0], (0, 1, 0))

    def test_a_skipped_function_prints_its_reason(self):
        totals, printed = counted(report("skipped", "setup", "broken upstream"))
        self.assertEqual(totals, (0, 0, 1))
        self.assertIn("broken upstream", printed)

    def test_the_last_attempt_of_each_test_counts(self):
        other = "t/integration/test_x.py::test_alone[2]"
        first, second = report("failed"), report("passed", attempt=1)
        for reports, failures in [
            ([first, second], 0),
            ([first, report("failed", attempt=1)], 1),
            ([first, second, report("failed", test=other)], 1),
            ([first, second, report("failed", test=other), report("passed", test=other, attempt=1)], 0),
        ]:
            self.assertEqual(len(outcomes(reports)["test_x.py::test_alone"].failures), failures)
