"""What every row of the benchmarks is made of.

* `measure` – interleaved rounds, ratios, tables.
* `systems` – the processes that post, and the workers.
* `broker` – the private Redis: messages, what is left in the queues, how often it was called.
* `machine` – versions and load, printed with every reading.
"""
