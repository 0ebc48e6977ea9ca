//! Why a router cannot start.

use std::io;
use std::net::SocketAddr;

/// A router that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there.
    #[error(
        "listen on {address}: port {} is in use; stop the program that has it, or choose other ports with --port-offset",
        address.port()
    )]
    PortInUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The core's address is not one.
    #[error("read the core's address {url:?}: write it as http://host:port")]
    CoreUrl {
        /// What was given.
        url: String,
    },
}
