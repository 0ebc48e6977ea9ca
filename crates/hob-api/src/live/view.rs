//! The views that can be followed: each is a set of rows with ids.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Name, Scope};
use hob_metrics::Query;
use hob_watch::IssueFilter;
use hob_wire::IssueState;
use serde::Serialize;
use serde_json::{Value, json};

use crate::resource::rules::figures;
use crate::state::Api;

/// Traffic is looked at less often than what is at hand in memory: each look reads the log.
const TRAFFIC_EVERY: Duration = Duration::from_secs(2);
/// The map is made anew from everything that has a position.
const MAP_EVERY: Duration = Duration::from_secs(1);
/// Rows of actions, the newest.
const ACTIONS_MAX: usize = 200;
const TRAFFIC_RANGE: Duration = Duration::from_secs(15 * 60);
const TRAFFIC_STEP: Duration = Duration::from_secs(10);
/// Rows of issues: the rest is reached by the API.
const ISSUES_MAX: usize = 5000;

/// What a subscription shows.
pub(super) struct View {
    kind: Kind,
    next_look: tokio::time::Instant,
}

enum Kind {
    Issues,
    Issue(String),
    Figures,
    Actions,
    Map,
    Services,
    Instances,
    Traffic(Option<Name>),
}

impl View {
    /// The view of that name, or why there is none.
    pub(super) fn new(name: &str, filter: Option<String>) -> Result<Self, String> {
        let kind = match name {
            "issues" => Kind::Issues,
            "figures" => Kind::Figures,
            "actions" => Kind::Actions,
            "map" => Kind::Map,
            "services" => Kind::Services,
            "instances" => Kind::Instances,
            "traffic" => Kind::Traffic(
                filter.map(|text| text.parse().map_err(|e| format!("failed to {e}"))).transpose()?,
            ),
            other => match other.strip_prefix("issue:") {
                Some(id) => Kind::Issue(id.to_owned()),
                None => {
                    return Err(format!(
                        "there is no view `{other}`; there are issues, issue:<id>, figures, actions, map, services, instances, traffic"
                    ));
                }
            },
        };
        Ok(Self { kind, next_look: tokio::time::Instant::now() })
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&mut self) -> bool {
        let now = tokio::time::Instant::now();
        let is_due = now >= self.next_look;
        if is_due {
            match self.kind {
                Kind::Traffic(_) => self.next_look = now + TRAFFIC_EVERY,
                Kind::Map => self.next_look = now + MAP_EVERY,
                _ => {}
            }
        }
        is_due
    }

    /// The rows now, by id. A view of something that is gone, or not declared yet, has none.
    pub(super) async fn rows(&self, api: &Api, scope: &Scope) -> BTreeMap<String, Value> {
        match &self.kind {
            Kind::Issues => {
                // Resolved ones are read by the API: they would crowd out what needs somebody now.
                let unresolved = vec![IssueState::Open, IssueState::Acknowledged];
                let filter = IssueFilter { states: unresolved, ..IssueFilter::default() };
                let issues = api.watch.issues(scope, &filter).unwrap_or_default();
                let rows = issues.iter().take(ISSUES_MAX).filter_map(|issue| {
                    let mut row = serde_json::to_value(issue.as_ref()).ok()?;
                    row.as_object_mut()?.remove("evidence");
                    Some((issue.id.clone(), row))
                });
                rows.collect()
            }
            Kind::Issue(id) => {
                let issue = api.watch.issue(scope, id).ok();
                issue.and_then(|issue| row(id.clone(), issue.as_ref())).into_iter().collect()
            }
            Kind::Figures => figure_rows(api, scope),
            Kind::Actions => {
                let actions = api.watch.actions(scope).unwrap_or_default();
                actions.iter().take(ACTIONS_MAX).filter_map(|one| row(one.id.clone(), one)).collect()
            }
            Kind::Map => {
                let places = api.watch.places(scope).unwrap_or_default();
                places.iter().filter_map(|place| row(place.href.clone(), place)).collect()
            }
            Kind::Services => {
                let services = api.deploy.services(scope).into_iter();
                services.filter_map(|service| row(service.name.to_string(), &service)).collect()
            }
            Kind::Instances => {
                let instances = api.deploy.instances(Some(scope)).into_iter();
                instances.filter_map(|instance| row(instance.id.clone(), &instance)).collect()
            }
            Kind::Traffic(service) => traffic_rows(api, scope, service.clone()).await,
        }
    }
}

fn row<T: Serialize>(id: String, value: &T) -> Option<(String, Value)> {
    let mut row = serde_json::to_value(value).ok()?;
    row.as_object_mut()?.insert("id".to_owned(), Value::String(id.clone()));
    Some((id, row))
}

fn figure_rows(api: &Api, scope: &Scope) -> BTreeMap<String, Value> {
    let Ok(strip) = figures(api, scope) else { return BTreeMap::new() };
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for (place, figure) in strip.figures.iter().enumerate() {
        if let Some((id, mut row)) = row(figure.name.clone(), figure) {
            row["place"] = json!(place);
            rows.insert(id, row);
        }
    }
    rows.insert("clock".to_owned(), json!({"id": "clock", "time": strip.clock}));
    rows
}

async fn traffic_rows(api: &Api, scope: &Scope, service: Option<Name>) -> BTreeMap<String, Value> {
    let to = api.clock.now();
    let query = Query {
        scope: scope.clone(),
        name: Some("http.*".to_owned()),
        service,
        instance: None,
        from: to.minus(TRAFFIC_RANGE),
        to,
        step: TRAFFIC_STEP,
    };
    let series = api.metrics.query(&query).await.unwrap_or_default();
    let rows = series.iter().filter_map(|series| {
        let labels: Vec<&str> = series.labels.values().map(String::as_str).collect();
        row(format!("{} {} {}", series.name, series.statistic, labels.join(" ")), series)
    });
    rows.collect()
}
