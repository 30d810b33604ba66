"""The rows: each module measures one kind of work; its `run(bench)` yields the tables."""
