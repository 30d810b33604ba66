//! Private servers and faults for tests, benchmarks and the demo.
