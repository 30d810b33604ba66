"""The common parts of all rows of the benchmarks.

* `measure` – interleaved rounds, ratios, tables.
* `systems` – the processes that post, and the workers.
* `broker` – the private Redis: makes messages, counts what is left in the queues, counts calls.
* `processors` – pins processes to processors, and reads the processor time that they used.
* `report` – the tables as text, as JSON and as plots.
* `machine` – the versions and the load of the machine, printed above the results.
"""
