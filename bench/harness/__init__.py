"""The common parts of all rows of the benchmarks.

* `measure` – interleaved rounds, ratios, tables.
* `systems` – the processes that post, and the workers.
* `broker` – the private Redis: makes messages, counts what is left in the queues, counts calls.
* `machine` – the versions and the load of the machine, printed above the results.
"""
