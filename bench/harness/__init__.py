"""The common parts of all rows of the benchmarks.

* `measure` – interleaved rounds, ratios, tables.
* `systems` – the processes that post, and the workers.
* `broker` – the private Redis: messages, the rest in the queues, the number of calls.
* `machine` – versions and load, printed with every reading.
"""
