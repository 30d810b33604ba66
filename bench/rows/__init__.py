"""The rows: each module measures one kind of work, `run(bench)` giving its tables."""
