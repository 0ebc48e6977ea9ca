//! A tag: the short name a record is filed under, cheap to clone and never empty.

use std::fmt;
use std::sync::Arc;

/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;

/// The short name that a record is filed under, for example a scope and a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Why a text cannot be a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use a tag of {size} bytes: it needs 1 to {TAG_BYTES_MAX}")]
pub struct TagError {
    /// Length of the text in bytes.
    pub size: usize,
}

impl Tag {
    /// Checks the length; any UTF-8 text of 1 to [`TAG_BYTES_MAX`] bytes is a tag.
    pub fn new(text: &str) -> Result<Self, TagError> {
        if text.is_empty() || text.len() > TAG_BYTES_MAX {
            return Err(TagError { size: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
