//! The command line: verbs, their arguments, their help.

mod events;
mod fleet;
mod issues;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hob_core::Name;

pub(crate) use events::{Entities, Events, LetterChoice, SubscriptionVerb, Subscriptions, TopicVerb};
pub(crate) use fleet::{Hold, HoldVerb, InstanceVerb, MaintenanceVerb, NodeVerb, Scale, Shielded};
pub(crate) use issues::{ActionVerb, Actions, IssueArguments, IssueVerb, Issues, OnIssue};

/// Hob ships, runs, connects, watches and mends the services of companies that take orders online.
#[derive(Parser)]
#[command(name = "hob", version, about, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXAMPLES: &str = "Examples:
  hob up                              start the platform whose hob.yml is here
  hob deploy orders                   build, ship and route a new release
  hob rollback orders                 go back, at once
  hob deploy orders --env production --from qa
                                      promote what qa runs
  hob logs orders --level warn -f     follow what a service says
  hob issues                          what needs a human now
  hob explain HOB-0050                what an error means, and what to do

Exit codes: 0 done, 1 failed, 2 usage, 3 check not met, 4 not found, 5 not allowed, 6 conflict, 7 timed out";

const LAG_BAR: &str = "On a terminal a bar shows how long the oldest event of each has waited: a third of it is a minute, \
two thirds an hour, the whole two and a half days. Green keeps up, yellow is 10 s behind, red 5 min or stalled; NO_COLOR \
is respected.";

/// What every verb takes.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// Hob's data directory
    #[arg(long, global = true, env = "HOB_DATA", default_value = ".hob", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Hob's API; found by the data directory when left out
    #[arg(long, global = true, env = "HOB_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token to call with; the one in the data directory when left out
    #[arg(long, global = true, env = "HOB_TOKEN", hide = true, hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Certificates of authorities to trust beside the platform's, in PEM
    #[arg(long, global = true, env = "HOB_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Where; the first environment of hob.yml when left out
    #[arg(long = "env", global = true, value_name = "ENVIRONMENT")]
    pub(crate) environment: Option<Name>,
    /// For whom; the first tenant of hob.yml when left out
    #[arg(long, global = true)]
    pub(crate) tenant: Option<Name>,
    /// Answer in JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start the platform: build, apply, and deploy what differs from what runs
    Up(Up),
    /// Run a router; with --upgrade, have `hob up` start the one on disk and let the present one end
    Router(Router),
    /// Check the platform's files, show what would change, and store them; deploys nothing
    Apply(Apply),
    /// Build a service, make a release of it and route it
    Deploy(Deploy),
    /// Go back to the release before, or to a named one
    Rollback(Rollback),
    /// The newest rollout of a service and what its gates saw; hold it, send it on, or have it go back
    Rollout(RolloutOf),
    /// Releases of a service, newest first; name one, and it stays on every node
    Releases(Releases),
    /// Services and how they are
    Services,
    /// Instances and how they are
    #[command(args_conflicts_with_subcommands = true)]
    Instances {
        /// Only of this service
        service: Option<Name>,
        #[command(subcommand)]
        verb: Option<InstanceVerb>,
    },
    /// Nodes and how they are
    Nodes {
        #[command(subcommand)]
        verb: Option<NodeVerb>,
    },
    /// Routers, and what they hold, eject and refuse
    Routers,
    /// Routes, and how each does
    Routes,
    /// Order numbers of instances, or leave them to schedule and requests again
    Scale(Scale),
    /// Hold requests back until they are let go; without a service, what is held
    #[command(args_conflicts_with_subcommands = true)]
    Hold(Hold),
    /// Answer requests with a page that says to come back; without a verb, where that is so
    Maintenance {
        #[command(subcommand)]
        verb: Option<MaintenanceVerb>,
    },
    /// Kill an instance with SIGKILL; it is started again
    Shoot {
        /// The instance's id
        instance: String,
    },
    /// What services wrote, and the requests that went through the router
    Logs(Logs),
    /// What services measured
    Metrics(Metrics),
    /// The event log
    Events(Events),
    /// An entity with its history, or the entities that a topic tells of
    Entities(Entities),
    /// Topics, who owns them and on what terms
    Topics {
        #[command(subcommand)]
        verb: Option<TopicVerb>,
    },
    /// Subscriptions and why they wait
    #[command(args_conflicts_with_subcommands = true, after_help = LAG_BAR)]
    Subscriptions(Subscriptions),
    /// What needs a human now
    #[command(args_conflicts_with_subcommands = true)]
    Issues(Issues),
    /// What was done about issues, by people and by rules
    Actions(Actions),
    /// Rules and how they do
    Rules,
    /// The platform as a whole
    Status,
    /// Check the machine, the data directory and the platform
    Doctor,
    /// Print the console's address, with which the browser signs in, and open it
    Open,
    /// What an error means, and what to do
    Explain {
        /// HOB-0042, or only 42
        code: String,
    },
    /// Print the API's OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// Run the core (`hob up` starts it)
    #[command(hide = true)]
    Core(Core),
    /// Run an agent: this machine joins a platform as a node, the first time with a join token as --token
    Agent(Agent),
    /// Own an instance (the agent starts it)
    #[command(hide = true)]
    Shim {
        /// The instance's folder
        folder: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Agent {
    /// The platform's API
    #[arg(long, value_name = "URL")]
    pub(crate) join: Option<String>,
    /// The node's name; the host's when left out
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// Stop the instances when it is told to end, instead of leaving them to the next agent
    #[arg(long)]
    pub(crate) stop_instances: bool,
}

#[derive(Args)]
pub(crate) struct Up {
    /// The folder of hob.yml; found upwards from here when left out
    pub(crate) dir: Option<PathBuf>,
    /// Added to every default port
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=i64::from(crate::settings::PORT_OFFSET_MAX)))]
    pub(crate) port_offset: Option<u16>,
    /// Configuration that takes the place of a descriptor's: SERVICE.KEY=VALUE
    #[arg(long, value_name = "SERVICE.KEY=VALUE", value_parser = parse_override)]
    pub(crate) set: Vec<(Name, String, String)>,
}

#[derive(Args)]
pub(crate) struct Child {
    /// Added to every default port
    #[arg(long, value_name = "N")]
    pub(crate) port_offset: Option<u16>,
    /// End when this process is no longer the parent
    #[arg(long, hide = true)]
    pub(crate) parent: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Router {
    #[command(flatten)]
    pub(crate) child: Child,
    /// Have the running `hob up` replace its router by the program on disk; no connection is refused or cut
    #[arg(long, conflicts_with_all = ["behind", "parent", "port_offset"])]
    pub(crate) upgrade: bool,
    /// Take the listening sockets from standard input, under this name
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) behind: Option<Name>,
}

#[derive(Args)]
pub(crate) struct Core {
    #[command(flatten)]
    pub(crate) child: Child,
    /// Bytes after which a segment of the event log is closed: small, so that a test sees many sealed
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) segment_bytes: Option<u64>,
    /// Events after which the index is flushed: few, so that a test sees it at work
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) index_events: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Apply {
    /// The folder of hob.yml; found upwards from here when left out
    pub(crate) dir: Option<PathBuf>,
    /// Only check, and show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Deploy {
    /// The service
    pub(crate) service: Name,
    /// Configuration that takes the place of the descriptor's: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Build nothing: promote the very package that this environment runs
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) from: Option<Name>,
}

#[derive(Args)]
pub(crate) struct Rollback {
    /// The service
    pub(crate) service: Name,
    /// The release to go back to; the one before the present one that worked when left out
    #[arg(long, value_name = "NUMBER")]
    pub(crate) to: Option<u64>,
}

#[derive(Args)]
pub(crate) struct RolloutOf {
    /// The service
    pub(crate) service: Name,
    /// What it shall do
    pub(crate) order: Option<RolloutOrder>,
}

/// What a rollout shall do.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RolloutOrder {
    /// Come no further than it is
    Hold,
    /// Go on, also where the gates saw too little
    Resume,
    /// Go back to the release before
    Abort,
}

#[derive(Args)]
pub(crate) struct Releases {
    /// The service
    pub(crate) service: Name,
    /// Name a release, so that it stays on every node
    #[arg(long, value_name = "NUMBER=NAME", value_parser = parse_release_name)]
    pub(crate) name: Option<(u64, String)>,
    /// Take a release's name away
    #[arg(long, value_name = "NUMBER", conflicts_with = "name")]
    pub(crate) unname: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Logs {
    /// Only of this service
    pub(crate) service: Option<Name>,
    /// Go on as new records come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// At least this level: trace, debug, info, warn, error
    #[arg(long)]
    pub(crate) level: Option<String>,
    /// Containing this text
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Of this instance
    #[arg(long)]
    pub(crate) instance: Option<String>,
    /// Of this request
    #[arg(long = "request", value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Not older than this, for example 15m
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
    /// Records, at most
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args)]
pub(crate) struct Metrics {
    /// The metric; a trailing * matches any ending. Without it, the names are listed
    pub(crate) name: Option<String>,
    /// Only of this service
    #[arg(long)]
    pub(crate) service: Option<Name>,
    /// How far back, for example 1h
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    pub(crate) since: String,
    /// Length of a step
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    pub(crate) step: String,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_release_name(text: &str) -> Result<(u64, String), String> {
    let (number, name) = parse_pair(text)?;
    let number = number.parse().map_err(|_| format!("`{number}` is no release's number"))?;
    Ok((number, name))
}

fn parse_override(text: &str) -> Result<(Name, String, String), String> {
    let (key, value) = parse_pair(text)?;
    let (service, key) = key.split_once('.').ok_or("write it as SERVICE.KEY=VALUE")?;
    let service = service.parse().map_err(|error| format!("failed to {error}"))?;
    Ok((service, key.to_owned(), value))
}
