//! `testkit up …`: placeholder until the servers exist.

fn main() {}
