//! CloudEvents 1.0 (github.com/cloudevents/spec) as others write and read them.

mod extension;

pub use extension::{Extension, base64_text};
