"""Rounds, ratios and tables.

Absolute figures of a shared machine mean little. So all systems of a table take turns (A B C, A B
C, …). A ratio compares two systems in one round. The tables show the median, the least and the
greatest value of all rounds.
"""

import statistics
import sys
from dataclasses import dataclass, field


@dataclass
class Sample:
    """One system in one round: its figure, and whether its tasks all arrived exactly once.

    `processor` is the processor time of the client in seconds, if it is measured.
    """

    value: float
    sent: int = 0
    done: int = 0
    twice: int = 0
    processor: float = 0

    @property
    def lost(self):
        return self.sent - self.done


@dataclass
class Goal:
    """A wanted figure."""

    text: str
    figures: list
    wanted: float
    at_most: bool = False
    unit: str = "×"

    @property
    def met(self):
        median = statistics.median(self.figures)
        return median <= self.wanted if self.at_most else median >= self.wanted

    def __str__(self):
        sign = "≤" if self.at_most else "≥"
        found = f"{figure(statistics.median(self.figures))} {self.unit}".strip()
        spread = f" ({figure(min(self.figures))} to {figure(max(self.figures))})" if len(self.figures) > 1 else ""
        return f"{'met' if self.met else 'MISSED'}: {self.text}: {found}{spread}, wanted {sign} {figure(self.wanted)}"


@dataclass
class Table:
    """The measurements of some systems in common rounds."""

    title: str
    unit: str = "tasks/s"
    systems: dict = field(default_factory=dict)
    goals: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def add(self, name, sample):
        self.systems.setdefault(name, []).append(sample)

    def values(self, name):
        return [sample.value for sample in self.systems[name]]

    def ratios(self, one, other):
        """Returns, for each round, the figure of `one` divided by the figure of `other`."""
        return [a / b for a, b in zip(self.values(one), self.values(other), strict=True)]

    def note_processor(self):
        """Adds a note on the processor time of each client.

        Other work on the machine changes this time less than it changes the wall clock.
        """
        costs = {
            name: statistics.median(sample.processor / sample.sent for sample in samples)
            for name, samples in self.systems.items()
        }
        self.notes.append(
            "µs of processor time in the client for each post: "
            + ", ".join(f"{name} {figure(cost * 1e6)}" for name, cost in costs.items())
        )

    def want(self, text, one, other, at_least):
        """Adds a goal for a ratio, if both systems were measured."""
        if one in self.systems and other in self.systems:
            self.goals.append(Goal(f"{text}", self.ratios(one, other), at_least))

    def want_of_best(self, text, one, others, at_least):
        """Like `want`, against the best of several settings of one system."""
        there = [name for name in others if name in self.systems]
        if there:
            best = max(there, key=lambda name: statistics.median(self.values(name)))
            self.want(f"{text} ({best})", one, best, at_least)

    def note_best(self, text, one, others):
        """Adds a note on the ratio to the best of several settings of one system."""
        best = max(others, key=lambda name: statistics.median(self.values(name)))
        ratios = self.ratios(one, best)
        spread = f"{figure(min(ratios))} to {figure(max(ratios))}"
        self.notes.append(f"{text} ({best}): {figure(statistics.median(ratios))} × ({spread})")

    def faults(self):
        """Yields the systems that lost tasks or ran them twice: their speed means nothing."""
        for name, samples in self.systems.items():
            lost, twice = (sum(getattr(sample, what) for sample in samples) for what in ("lost", "twice"))
            if lost or twice:
                yield f"{self.title}: {name}: {lost:,} lost, {twice:,} twice"

    def __str__(self):
        heading = ["", self.unit, "least", "greatest", "sent", "done", "twice", "lost"]
        rows = []
        for name, samples in self.systems.items():
            values = [sample.value for sample in samples]
            totals = [sum(getattr(sample, what) for sample in samples) for what in ("sent", "done", "twice", "lost")]
            counts = [f"{total:,}" for total in totals] if totals[0] else ["–"] * 4
            rows.append([name, figure(statistics.median(values)), figure(min(values)), figure(max(values)), *counts])
        widths = [max(len(row[n]) for row in [heading, *rows]) for n in range(len(heading))]

        def line(cells):
            first, *others = (
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            return "| " + " | ".join([first, *others]) + " |"

        rule = (
            "|"
            + "|".join("-" * (width + 2) if n == 0 else "-" * (width + 1) + ":" for n, width in enumerate(widths))
            + "|"
        )
        parts = [f"### {self.title}", "", line(heading), rule, *map(line, rows), ""]
        parts += [f"* {goal}" for goal in self.goals] + [f"* {note}" for note in self.notes]
        return "\n".join(parts) + "\n"


def interleave(table, systems, rounds):
    """Runs each system once in each round, in turn, after a round that does not count."""
    for number in range(rounds + 1):
        for name, run in systems.items():
            progress(f"{table.title}: {name}, {f'round {number} of {rounds}' if number else 'warming up'}")
            sample = run()
            if number:
                table.add(name, sample)
    progress("")
    return table


def progress(text):
    """Shows one line that the next one overwrites, if a person watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text[:100]}")
        sys.stderr.flush()


def figure(number):
    """Formats a number with three digits; more would claim more than the spread permits."""
    if number == 0:
        return "0"
    if abs(number) >= 1000:
        digits = 3 - len(str(int(abs(number))))
        return f"{round(number, digits):,.0f}"
    return f"{number:.3g}"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
