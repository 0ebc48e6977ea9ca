//! Checks declarations across files, and tells how two of them differ. What one file says wrong by itself was told
//! when it was read; here are the contradictions between files.

use std::collections::BTreeMap;

use hob_core::Name;
use hob_wire::{Change, Declarations, ErrorItem, Kind, Service};

use crate::Error;
use crate::model::WEB;
use crate::scale::schedule::Schedule;

/// Services in a platform.
const SERVICES_MAX: usize = 1000;
/// Bytes of declarations in their stored form.
const DECLARATIONS_BYTES_MAX: usize = 1000 * 1000;

/// Every contradiction, or none.
pub(crate) fn validate(declarations: &Declarations) -> Result<(), Error> {
    let mut items = Vec::new();
    let platform = &declarations.platform;
    if platform.environments.is_empty() || platform.tenants.is_empty() {
        tell(&mut items, "hob.yml", "it needs at least one environment and one tenant");
    }
    if declarations.services.len() > SERVICES_MAX {
        tell(&mut items, "hob.yml", format!("more than {SERVICES_MAX} services"));
    }
    let size = serde_json::to_vec(declarations).map_or(usize::MAX, |bytes| bytes.len());
    if size > DECLARATIONS_BYTES_MAX {
        let what = format!("all files together take {size} bytes; at most {DECLARATIONS_BYTES_MAX} are kept");
        tell(&mut items, "hob.yml", what);
    }
    for (name, service) in &declarations.services {
        check_service(name, service, &mut items);
    }
    check_routes(&declarations.services, &mut items);
    check_topics(declarations, &mut items);
    if items.is_empty() { Ok(()) } else { Err(Error::Declarations(items)) }
}

fn tell(items: &mut Vec<ErrorItem>, place: impl Into<String>, detail: impl Into<String>) {
    items.push(ErrorItem { place: place.into(), detail: detail.into() });
}

fn check_service(name: &Name, service: &Service, items: &mut Vec<ErrorItem>) {
    let place = format!("service {name}");
    if *name != service.service {
        tell(items, &place, format!("it is declared as {} inside; use one name", service.service));
    }
    if service.processes.is_empty() {
        tell(items, &place, "it has no processes; declare at least one");
    }
    for (process, spec) in &service.processes {
        if spec.run.first().is_none_or(String::is_empty) {
            tell(items, &place, format!("process {process} has nothing to run; name its program"));
        }
    }
    let listens = service.processes.get(WEB).is_some_and(|web| web.listens);
    if !service.routes.is_empty() && !listens {
        tell(items, &place, "its routes lead to a process `web` with `port: http`, which it has not");
    }
    for window in service.scale.iter().flat_map(|scale| &scale.schedule) {
        if let Err(what) = Schedule::new(window) {
            tell(items, &place, format!("a time of its schedule does not read: {what}"));
        }
    }
    if service.kind == Kind::Edge && !service.topics.is_empty() {
        tell(items, &place, "an edge service owns no topics; make it `kind: domain` or leave them out");
    }
    for route in &service.routes {
        if !route.path.starts_with('/') {
            tell(items, &place, format!("route path {:?} must begin with /", route.path));
        }
        if let Some(host) = &route.host
            && host
                .replace("${environment}", "e")
                .replace("${tenant}", "t")
                .contains(['$', '{', '}', '/', ' '])
        {
            tell(
                items,
                &place,
                format!("route host {host:?} may contain ${{environment}} and ${{tenant}} only"),
            );
        }
    }
}

fn check_routes(services: &BTreeMap<Name, Service>, items: &mut Vec<ErrorItem>) {
    let mut owners: BTreeMap<(Option<String>, &str), &Name> = BTreeMap::new();
    for (name, service) in services {
        for route in &service.routes {
            let host = route.host.as_ref().map(|host| host.to_ascii_lowercase());
            let shown = format!("{}{}", host.as_deref().unwrap_or("any host, "), route.path);
            if let Some(owner) = owners.insert((host, route.path.as_str()), name) {
                let what =
                    format!("route {shown} is also a route of {owner}; give each its own host or path");
                tell(items, format!("service {name}"), what);
            }
        }
    }
}

fn check_topics(declarations: &Declarations, items: &mut Vec<ErrorItem>) {
    let mut owners = BTreeMap::new();
    for (name, service) in &declarations.services {
        for topic in &service.topics {
            let place = format!("service {name}");
            if topic.name.is_reserved() {
                tell(
                    items,
                    &place,
                    format!("topic {} is Hob's own; choose a name outside hob.*", topic.name),
                );
            }
            if let Some(owner) = owners.insert(&topic.name, name) {
                let what = format!("topic {} is also a topic of {owner}; a topic has one owner", topic.name);
                tell(items, &place, what);
            }
        }
    }
    for (scope, topic) in &declarations.platform.clocks {
        if !owners.contains_key(topic) {
            let what = format!("clock topic {topic} of {scope} is owned by no service; declare it in one");
            tell(items, "hob.yml", what);
        }
    }
}

/// What applying `next` over `known` changes.
pub(crate) fn differences(known: Option<&Declarations>, next: &Declarations) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut note = |change: &str, what: String| changes.push(Change { change: change.to_owned(), what });
    match known {
        None => note("add", "platform".to_owned()),
        Some(known) if known.platform != next.platform => note("change", "platform".to_owned()),
        Some(_) => {}
    }
    let (old, new) = (parts(known), parts(Some(next)));
    for (what, text) in &new {
        match old.get(what) {
            None => note("add", what.clone()),
            Some(other) if other != text => note("change", what.clone()),
            Some(_) => {}
        }
    }
    for what in old.keys().filter(|what| !new.contains_key(*what)) {
        note("remove", what.clone());
    }
    changes
}

/// Services, topics and rule files by what they are called in a difference, each in a comparable form.
fn parts(declarations: Option<&Declarations>) -> BTreeMap<String, String> {
    let Some(declarations) = declarations else { return BTreeMap::new() };
    let mut parts = BTreeMap::new();
    for (name, service) in &declarations.services {
        for topic in &service.topics {
            parts.insert(format!("topic {}", topic.name), format!("{name} {:?}", topic.terms));
        }
        let rest = Service { topics: Vec::new(), ..service.clone() };
        parts.insert(format!("service {name}"), format!("{rest:?}"));
    }
    for rule in &declarations.rules {
        parts.insert(rule.file.clone(), rule.text.clone());
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hob_wire::Platform;

    pub(crate) fn service(text: &str) -> Service {
        Service::read("service.yml", text).unwrap()
    }

    pub(crate) fn declarations(services: &[&str]) -> Declarations {
        let platform =
            Platform::read("hob.yml", "platform: test\nenvironments: [qa]\ntenants: [uk, ie]\n").unwrap();
        let services = services.iter().map(|text| service(text)).map(|s| (s.service.clone(), s)).collect();
        Declarations { platform, services, rules: Vec::new() }
    }

    const ORDERS: &str = "service: orders
kind: domain
package: {include: [bin]}
processes: {web: {run: [bin/orders], port: http}}
routes: [{path: /orders}]
topics: [{name: orders, kind: notify}]
";

    #[test]
    fn every_contradiction_is_told_at_once() {
        let other = ORDERS.replace("service: orders", "service: menus");
        let mut wrong = declarations(&[ORDERS, &other]);
        wrong.platform.clocks.insert("qa/uk".to_owned(), "city.clock".parse().unwrap());
        let Err(Error::Declarations(items)) = validate(&wrong) else { panic!("must be refused") };
        let told: Vec<String> = items.iter().map(|item| format!("{}: {}", item.place, item.detail)).collect();
        assert_eq!(
            told,
            [
                "service orders: route any host, /orders is also a route of menus; give each its own host or path",
                "service orders: topic orders is also a topic of menus; a topic has one owner",
                "hob.yml: clock topic city.clock of qa/uk is owned by no service; declare it in one",
            ]
        );
        assert!(validate(&declarations(&[ORDERS])).is_ok());
    }

    #[test]
    fn differences_name_what_changed() {
        let old = declarations(&[ORDERS]);
        assert!(differences(Some(&old), &old).is_empty());
        let told = |changes: Vec<Change>| -> Vec<String> {
            changes.into_iter().map(|change| format!("{} {}", change.change, change.what)).collect()
        };
        assert_eq!(told(differences(None, &old)), ["add platform", "add service orders", "add topic orders"]);
        let new =
            declarations(&[&ORDERS.replace("path: /orders", "path: /v2").replace("name: orders", "name: o")]);
        assert_eq!(
            told(differences(Some(&old), &new)),
            ["change service orders", "add topic o", "remove topic orders"]
        );
    }
}
