//! CloudEvents 1.0 (github.com/cloudevents/spec) as others write and read them: the formats in which events are
//! published and pushed.

mod extension;
mod header;
mod render;

pub use extension::{Extension, base64_text};
pub use header::decode as decode_header;
pub use render::{BATCH, LINES, STRUCTURED, batch, binary, lines, structured};

/// Whether data of this media type is JSON.
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Some((_, kind)) = essence.split_once('/') else { return false };
    kind.eq_ignore_ascii_case("json")
        || kind.len() > 5 && kind.as_bytes()[kind.len() - 5..].eq_ignore_ascii_case(b"+json")
}
