//! The whole platform from outside: the binary, its command line, its doors, the example under load. Few and slow; what
//! can be seen in a crate's own tests is seen there.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says what it measured"
)]

mod bad_input;
mod load;
mod platform;
mod ship;
mod takeaway;
