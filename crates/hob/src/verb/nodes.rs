//! `hob nodes`: what each is and how it confines instances, and how nodes come and go.

use hob_core::{Clock, Name, parse_duration};
use hob_sdk::Request;
use hob_wire::{Hal, JoinToken, NewJoinToken, NodePatch, NodeState, NodeSummary};
use http::Method;

use super::list::{optional, word};
use crate::cli::{Global, NodeVerb};
use crate::failure::{Exit, Failure};
use crate::remote::{Remote, read};
use crate::screen::{self, Cell};

/// Nodes and tokens that are listed.
const LIST_MAX: usize = 10_000;

pub(crate) async fn nodes(remote: &Remote, global: &Global, verb: Option<NodeVerb>) -> Result<(), Failure> {
    match verb {
        None => list(remote, global).await,
        Some(NodeVerb::Show { node }) => show(remote, global, &node).await,
        Some(NodeVerb::Drain { node }) => set(remote, global, &node, NodeState::Draining).await,
        Some(NodeVerb::Activate { node }) => set(remote, global, &node, NodeState::Active).await,
        Some(NodeVerb::Kill { node }) => kill(remote, global, &node).await,
        Some(NodeVerb::Token { uses, length }) => make_token(remote, global, uses, &length).await,
        Some(NodeVerb::Tokens) => tokens(remote, global).await,
        Some(NodeVerb::Revoke { id }) => {
            remote.send(Request::delete(format!("/v1/join-tokens/{id}"))).await?;
            screen::say(format!("nobody joins with token {id} any more"));
            Ok(())
        }
    }
}

/// How a node is, in a word: what people decided comes after what is so.
fn state(node: &NodeSummary) -> String {
    match node.state {
        NodeState::Active if node.live => "live".to_owned(),
        NodeState::Active => "lost".to_owned(),
        NodeState::Draining if node.instances == 0 => "drained".to_owned(),
        decided => word(&decided),
    }
}

async fn list(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let nodes: Vec<NodeSummary> = remote.list("/v1/nodes".to_owned(), LIST_MAX).await?;
    if global.json {
        screen::json(&nodes);
        return Ok(());
    }
    let now = Clock::system().now();
    let rows = nodes.iter().map(|node| {
        let memory = (node.facts.memory_bytes > 0).then(|| screen::bytes(node.facts.memory_bytes));
        let used = screen::bytes(node.usage.memory_bytes);
        vec![
            Cell::bold(&node.name),
            Cell::state(state(node)),
            Cell::plain(node.instances),
            Cell::plain(word(&node.facts.confinement.isolation)),
            Cell::plain(screen::listed(&node.facts.confinement.limits)),
            Cell::plain(format!("{used} of {}", optional(memory))),
            Cell::plain(node.facts.cores),
            Cell::dim(optional(node.reported.map(|time| format!("{} ago", screen::ago(time, now))))),
            Cell::dim(screen::listed(&node.facts.confinement.missing)),
        ]
    });
    let head =
        ["node", "state", "instances", "isolation", "limits", "memory", "cores", "reported", "missing"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "no node has reported yet");
    Ok(())
}

async fn show(remote: &Remote, global: &Global, node: &Name) -> Result<(), Failure> {
    let node: Hal<NodeSummary> = remote.get(format!("/v1/nodes/{node}")).await?;
    let node = node.body;
    if global.json {
        screen::json(&node);
        return Ok(());
    }
    let now = Clock::system().now();
    let decided = node.by.as_ref().map(|by| format!("{} by {by}", word(&node.state)));
    let uses = format!(
        "{:.1} s of processor, {}, {} processes and threads",
        node.usage.cpu_seconds,
        screen::bytes(node.usage.memory_bytes),
        node.usage.pids
    );
    screen::facts(&[
        ("node", node.name.to_string()),
        ("state", state(&node)),
        ("decided", optional(decided)),
        ("since", optional(node.since)),
        ("reported", optional(node.reported.map(|time| format!("{} ago", screen::ago(time, now))))),
        ("host", node.facts.host.clone()),
        ("agent", node.facts.version.clone()),
        ("cores", node.facts.cores.to_string()),
        ("memory", screen::bytes(node.facts.memory_bytes)),
        ("cgroups", node.facts.cgroups.clone()),
        ("isolation", word(&node.facts.confinement.isolation)),
        ("limits", screen::listed(&node.facts.confinement.limits)),
        ("missing", screen::listed(&node.facts.confinement.missing)),
        ("instances", node.instances.to_string()),
        ("they use", uses),
    ]);
    Ok(())
}

async fn set(remote: &Remote, global: &Global, node: &Name, state: NodeState) -> Result<(), Failure> {
    let request = Request::new(Method::PATCH, format!("/v1/nodes/{node}")).json(&NodePatch { state });
    let node: Hal<NodeSummary> = read(remote.send(request).await?)?;
    if global.json {
        screen::json(&node.body);
    } else if state == NodeState::Draining {
        let left = node.body.instances;
        screen::say(format!("{} takes nothing new, and its {left} instances move elsewhere", node.body.name));
    } else {
        screen::say(format!("{} takes instances again", node.body.name));
    }
    Ok(())
}

async fn kill(remote: &Remote, global: &Global, node: &Name) -> Result<(), Failure> {
    let node: Hal<NodeSummary> = read(remote.send(Request::delete(format!("/v1/nodes/{node}"))).await?)?;
    if global.json {
        screen::json(&node.body);
        return Ok(());
    }
    let left = node.body.instances;
    screen::say(format!(
        "{} is given up: its {left} instances move elsewhere, then it is forgotten",
        node.body.name
    ));
    Ok(())
}

async fn make_token(remote: &Remote, global: &Global, uses: u32, length: &str) -> Result<(), Failure> {
    let length =
        parse_duration(length).map_err(|error| Failure::with(Exit::Usage, format!("failed to {error}")))?;
    let new = NewJoinToken { uses, seconds: length.as_secs() };
    let token: Hal<JoinToken> = remote.post("/v1/join-tokens".to_owned(), &new).await?;
    let token = token.body;
    if global.json {
        screen::json(&token);
        return Ok(());
    }
    screen::line(token.token.as_deref().unwrap_or_default());
    screen::say(format!("good until {} for {} machines; it is told only now", token.expires, token.uses));
    Ok(())
}

async fn tokens(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let tokens: Vec<JoinToken> = remote.list("/v1/join-tokens".to_owned(), LIST_MAX).await?;
    if global.json {
        screen::json(&tokens);
        return Ok(());
    }
    let rows = tokens.iter().map(|token| {
        vec![Cell::bold(&token.id), Cell::plain(token.uses), Cell::plain(token.expires), Cell::dim(&token.by)]
    });
    screen::table(
        &["token", "uses left", "good until", "made by"],
        &rows.collect::<Vec<_>>(),
        "no join token is good",
    );
    Ok(())
}
