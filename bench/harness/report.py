"""The report of a run: text, and the same figures as JSON and as plots for other programs and people."""

import json
import re
import statistics

import pygal

from .measure import figure, progress


class Report:
    """The tables as they come. `folder` gets RESULTS.md, results.json and a plot for each table."""

    def __init__(self, folder=None):
        self.folder = folder
        self.lines = []
        self.tables = []
        self.title = ""
        self.facts = []

    def head(self, title, facts):
        """Starts the report with its title and the facts of the machine."""
        self.title = title
        self.facts = facts
        self.write(f"# {title}\n")
        self.write("".join(f"* {line}\n" for line in facts))

    def write(self, text):
        progress("")
        print(text, flush=True)
        self.lines.append(text)
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "RESULTS.md").write_text("\n".join(self.lines))

    def add(self, table):
        """Writes a table, its figures and its plot."""
        self.write(str(table))
        self.tables.append(table)
        if not self.folder or not table.systems:
            return
        file = f"plots/{slug(table.title)}.svg"
        (self.folder / "plots").mkdir(exist_ok=True)
        (self.folder / file).write_bytes(plot(table))
        self.write(f"![{table.title}]({file})\n")
        document = {"title": self.title, "machine": self.facts, "tables": list(map(figures, self.tables))}
        (self.folder / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def figures(table):
    """Returns the figures of a table, one for each round, as JSON values."""
    return {
        "title": table.title,
        "unit": table.unit,
        "systems": {name: [vars(sample) for sample in samples] for name, samples in table.systems.items()},
        "goals": [vars(goal) | {"met": goal.met} for goal in table.goals],
        "notes": table.notes,
    }


def plot(table):
    """Draws the medians of a table as bars; their titles show the least and the greatest."""
    chart = pygal.HorizontalBar(
        title=f"{table.title} ({table.unit})",
        height=120 + 50 * len(table.systems),
        width=900,
        # A chart refers to no script on the network, and is the same for the same figures.
        js=[],
        no_prefix=True,
        show_legend=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        print_values=True,
        formatter=figure,
    )
    for name, samples in table.systems.items():
        values = [sample.value for sample in samples]
        spread = f"{figure(min(values))} to {figure(max(values))}"
        chart.add(name, [{"value": statistics.median(values), "label": spread}])
    return chart.render()


def slug(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
