//! Live views by websocket: a snapshot, then patches, at most four a second.
//!
//! The server keeps the rows that it last sent for each subscription and sends the difference; a client that reads
//! slowly gets fewer, larger patches, never a growing queue.

mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use hob_core::Scope;
use hob_wire::{FromClient, ToClient};
use http::Method;
use serde_json::Value;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::extract::InScope;
use crate::state::Api;
use view::View;

/// Time between looks at what changed.
const EVERY: Duration = Duration::from_millis(250);
/// A quiet connection says this often that it lives.
const PING: Duration = Duration::from_secs(15);
/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 32;
/// A client that takes this long to take a frame is gone.
const SEND_MAX: Duration = Duration::from_secs(20);
/// Bytes of a frame from the browser.
const FRAME_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let summary = "Views that keep themselves up to date, by websocket";
    let mut endpoint = Endpoint::new(Method::GET, "/v1/live", Who::Viewer, summary, any(live)).scoped();
    endpoint.answer = (101, "application/json", None);
    endpoint.streams = true;
    vec![endpoint]
}

async fn live(State(api): State<Api>, InScope(scope): InScope, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols(["hob.v1"]).max_message_size(FRAME_BYTES_MAX);
    upgrade.on_upgrade(move |socket| async move {
        let mut connection = Connection { api, scope, subscriptions: BTreeMap::new(), cursor: 0 };
        connection.run(socket).await;
    })
}

struct Subscription {
    view: View,
    sent: BTreeMap<String, Value>,
}

struct Connection {
    api: Api,
    scope: Scope,
    subscriptions: BTreeMap<String, Subscription>,
    cursor: u64,
}

impl Connection {
    async fn run(&mut self, mut socket: WebSocket) {
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pings = tokio::time::interval(PING);
        loop {
            let frames = tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => self.take(&text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => Vec::new(),
                },
                _ = looks.tick() => self.look().await,
                _ = pings.tick() => vec![ToClient::Ping { time: self.api.clock.now() }],
            };
            for frame in frames {
                let text = serde_json::to_string(&frame).expect("a frame has only JSON values");
                let sent = tokio::time::timeout(SEND_MAX, socket.send(Message::Text(text.into()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }

    async fn take(&mut self, text: &str) -> Vec<ToClient> {
        match serde_json::from_str(text) {
            Ok(FromClient::Sub { id, view, filter, cursor: _ }) => self.subscribe(id, &view, filter).await,
            Ok(FromClient::Unsub { id }) => {
                self.subscriptions.remove(&id);
                Vec::new()
            }
            Err(error) => {
                vec![ToClient::Refused { id: String::new(), reason: format!("not a frame: {error}") }]
            }
        }
    }

    async fn subscribe(&mut self, id: String, view: &str, filter: Option<String>) -> Vec<ToClient> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let reason = format!("at most {SUBSCRIPTIONS_MAX} subscriptions a connection");
            return vec![ToClient::Refused { id, reason }];
        }
        let view = match View::new(view, filter) {
            Ok(view) => view,
            Err(reason) => return vec![ToClient::Refused { id, reason }],
        };
        let rows = view.rows(&self.api, &self.scope).await;
        self.cursor += 1;
        let frame = ToClient::Snap {
            id: id.clone(),
            rows: rows.values().cloned().collect(),
            cursor: self.cursor.to_string(),
        };
        self.subscriptions.insert(id, Subscription { view, sent: rows });
        vec![frame]
    }

    async fn look(&mut self) -> Vec<ToClient> {
        let mut frames = Vec::new();
        for (id, subscription) in &mut self.subscriptions {
            if !subscription.view.is_due() {
                continue;
            }
            let rows = subscription.view.rows(&self.api, &self.scope).await;
            let (up, del) = difference(&subscription.sent, &rows);
            if up.is_empty() && del.is_empty() {
                continue;
            }
            subscription.sent = rows;
            self.cursor += 1;
            frames.push(ToClient::Patch { id: id.clone(), up, del, cursor: self.cursor.to_string() });
        }
        frames
    }
}

/// Rows that came or changed, each with the members that changed, and ids of rows that are gone. A member that is
/// gone is sent as null.
fn difference(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> (Vec<(String, Value)>, Vec<String>) {
    let gone = before.keys().filter(|id| !after.contains_key(*id)).cloned().collect();
    let mut up = Vec::new();
    for (id, row) in after {
        match (before.get(id), row) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(*value));
                let mut members: serde_json::Map<String, Value> =
                    changed.map(|(name, value)| (name.clone(), value.clone())).collect();
                members.extend(
                    old.keys()
                        .filter(|name| !new.contains_key(*name))
                        .map(|name| (name.clone(), Value::Null)),
                );
                up.push((id.clone(), Value::Object(members)));
            }
            (_, new) => up.push((id.clone(), new.clone())),
        }
    }
    (up, gone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_carry_only_what_changed() {
        let rows =
            |list: Vec<(&str, Value)>| list.into_iter().map(|(id, row)| (id.to_owned(), row)).collect();
        let before =
            rows(vec![("a", json!({"n": 1, "s": "x"})), ("b", json!({"n": 2})), ("c", json!({"n": 3}))]);
        let after = rows(vec![("a", json!({"n": 5})), ("c", json!({"n": 3})), ("d", json!({"n": 4}))]);
        let (up, del) = difference(&before, &after);
        assert_eq!(up, [("a".to_owned(), json!({"n": 5, "s": null})), ("d".to_owned(), json!({"n": 4}))]);
        assert_eq!(del, ["b"]);
    }
}
