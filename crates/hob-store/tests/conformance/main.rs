//! What every engine promises, tried on the embedded ones: another engine joins by calling the same functions.

mod blobs;
mod kv;
mod log;
mod store;
