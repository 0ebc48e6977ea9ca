//! What every engine promises, tried on the embedded ones: another engine joins by calling the same functions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blobs;
mod kv;
mod log;
mod store;
