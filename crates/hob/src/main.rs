//! The Hob binary: configuration, wiring and the command line.
fn main() {}
