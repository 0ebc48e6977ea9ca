//! Arguments of the verbs about instances, nodes, numbers of instances and what the router holds back.

use clap::{Args, Subcommand};
use hob_core::Name;

#[derive(Subcommand)]
pub(crate) enum InstanceVerb {
    /// One instance: how it is confined, what it uses, why it is not ready
    Show {
        /// The instance's id
        instance: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum NodeVerb {
    /// One node: what it is, and how it confines instances
    Show { node: Name },
    /// Move everything to other nodes, and take nothing new
    Drain { node: Name },
    /// Take instances again
    Activate { node: Name },
    /// Give it up: everything moves elsewhere, and the node is forgotten
    Kill { node: Name },
    /// Make a token with which machines become nodes
    Token {
        /// How many machines may join with it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// For how long it is good
        #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
        length: String,
    },
    /// Join tokens that are good
    Tokens,
    /// Take a join token back
    Revoke {
        /// The token's id
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct Scale {
    /// The service
    pub(crate) service: Name,
    /// PROCESS=NUMBER, or `auto`; without any, how many there are and why
    #[arg(value_name = "PROCESS=NUMBER")]
    pub(crate) numbers: Vec<String>,
}

/// Which requests a shield is about; `--tenant` and `--env` narrow it too.
#[derive(Args, Clone)]
pub(crate) struct Shielded {
    /// The service
    pub(crate) service: Option<Name>,
    /// Only at and below this path
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Every service
    #[arg(long, conflicts_with = "service")]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct Hold {
    #[command(subcommand)]
    pub(crate) verb: Option<HoldVerb>,
    #[command(flatten)]
    pub(crate) about: Shielded,
    /// How long a request waits at most
    #[arg(long = "for", value_name = "DURATION", default_value = "30s")]
    pub(crate) length: String,
}

#[derive(Subcommand)]
pub(crate) enum HoldVerb {
    /// Let requests go
    Off {
        #[command(flatten)]
        about: Shielded,
    },
}

#[derive(Subcommand)]
pub(crate) enum MaintenanceVerb {
    /// Answer with a page that says to come back
    On {
        #[command(flatten)]
        about: Shielded,
        /// What people read
        #[arg(long, default_value = "We are mending something. Please come back in a few minutes.")]
        message: String,
        /// When browsers and programs are told to come back
        #[arg(long, value_name = "DURATION", default_value = "2m")]
        retry_after: String,
    },
    /// Let requests through again
    Off {
        #[command(flatten)]
        about: Shielded,
    },
}
