//! Why an agent could not begin, or an instance could not start.

use std::io;
use std::path::{Path, PathBuf};

use hob_core::{Digest, Name};

use crate::unpack::UnpackError;

/// What an agent could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file could not be made or read.
    #[error("{action} {path}", path = path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A socket could not be opened.
    #[error("open a socket on loopback")]
    Socket(#[source] io::Error),
    /// The HTTP client could not be made.
    #[error("make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// The platform did not take this machine as a node.
    #[error("join the platform: {0}")]
    Join(String),
    /// The platform does not know this node any more.
    #[error(
        "go on as node {node}: the platform does not know its token any more ({code}); instances were stopped; join again \
         with a join token: hob agent --join {url} --token TOKEN --name {node}",
        code = hob_core::code::NODE_TOKEN.name()
    )]
    Revoked {
        /// The node.
        node: Name,
        /// The platform's API.
        url: String,
    },
    /// The package could not be fetched.
    #[error("fetch package {digest}: {why}")]
    Fetch {
        /// The package.
        digest: Digest,
        /// What happened.
        why: String,
    },
    /// The package could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A program could not be started.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was being done to which file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// The whole chain in one line.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// An error with all that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
