//! Issues that explain others, issues that are one, and rules that have too many.

use super::*;

const CITY: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, zone: string, due: ts}
links: {rider: rider}
label: order {{order.id}}
---
entity: rider
from: {topic: riders}
fields: {id: string, on_job: bool, zone: string}
links: {orders: order}
---
rule: short
about: order
when: order.state == 'short'
issue: {title: '{{order.zone}} is short of riders', key: 'zone/{{order.zone}}/short', priority: 70}
---
rule: unassigned
about: order
when: order.state in ['short', 'unassigned']
issue: {title: '{{order.id}} has no rider', parent: ['rider/none', 'zone/{{order.zone}}/short'], priority: 50}
---
rule: stopped
about: rider
when: rider.on_job == false
issue: {title: '{{rider.id}} stands', affects: orders, urgency: {field: orders.due, within: 30m}, priority: 40}
---
rule: often
about: order
when: order.state == 'cancelled'
issue: {title: 'many are cancelled', key: 'zone/{{order.zone}}/cancelled', at_least: 3/10m}
---
rule: noisy
about: order
when: order.state == 'noisy'
budget: {max_open: 3}
issue: {title: '{{order.id}} is noisy'}
---
rule: quiet
about: order
mode: shadow
when: order.state == 'noisy'
issue: {title: '{{order.id}} is noisy too'}
";

fn body(id: &str, state: &str) -> Value {
    json!({"id": id, "state": state, "zone": "north", "due": at(60).to_string()})
}

fn see(play: &mut Play, id: &str, state: &str) {
    play.saw(&format!("http://t/orders/{id}"), body(id, state));
}

fn find<'a>(play: &'a Play, title: &str) -> &'a hob_wire::Issue {
    let of_title = play.engine.issues().filter(|issue| issue.title == title);
    let found = of_title.max_by_key(|issue| (issue.state != IssueState::Resolved, issue.opened));
    found.unwrap_or_else(|| panic!("no {title} in {:?}", play.told()))
}

#[test]
fn a_parent_adopts_what_it_explains_and_ends_last() {
    let mut play = Play::new(CITY);
    see(&mut play, "o1", "unassigned");
    assert_eq!(find(&play, "o1 has no rider").parent, None);
    // It comes later and adopts the one that is there; then one that comes after it.
    see(&mut play, "o2", "short");
    see(&mut play, "o3", "unassigned");
    let parent = find(&play, "north is short of riders");
    assert_eq!(parent.children, 3);
    for id in ["o1", "o2", "o3"] {
        assert_eq!(find(&play, &format!("{id} has no rider")).parent.as_ref(), Some(&parent.id));
    }
    assert!(parent.terms.iter().any(|term| term.name == "members" && term.points == 10), "{parent:?}");
    let id = parent.id.clone();
    // Its own condition is over, its children are not.
    see(&mut play, "o2", "unassigned");
    let parent = play.engine.issue(&id).unwrap();
    assert_eq!(parent.waits.as_deref(), Some("the condition is no longer true; 3 children are open"));
    assert_eq!(parent.state, IssueState::Open);
    assert_eq!(play.command(Verb::Resolve { how: None }, &id), Some(Refusal::Children(3)));
    for order in ["o1", "o2", "o3"] {
        assert_eq!(play.engine.issue(&id).unwrap().state, IssueState::Open);
        see(&mut play, order, "assigned");
    }
    assert_eq!(play.engine.issue(&id).unwrap().state, IssueState::Resolved);
    assert_eq!(play.told().last().unwrap(), &"0 resolved north is short of riders");
}

#[test]
fn a_parent_that_was_a_false_alarm_lets_its_children_go() {
    let mut play = Play::new(CITY);
    see(&mut play, "o1", "short");
    let id = find(&play, "north is short of riders").id.clone();
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::FalseAlarm) }, &id), None);
    let child = find(&play, "o1 has no rider");
    assert_eq!((child.parent.as_ref(), child.state), (None, IssueState::Open));
    assert!(play.told().contains(&"0 released o1 has no rider"), "{:?}", play.told());
}

#[test]
fn merged_issues_live_and_end_as_one() {
    let mut play = Play::new(CITY);
    see(&mut play, "o1", "unassigned");
    see(&mut play, "o2", "unassigned");
    let (one, two) = (find(&play, "o1 has no rider").id.clone(), find(&play, "o2 has no rider").id.clone());
    assert!(matches!(play.command(Verb::Merge { into: one.clone() }, &one), Some(Refusal::Senseless { .. })));
    assert_eq!(play.command(Verb::Merge { into: one.clone() }, &two), None);
    assert_eq!(play.engine.issue(&two).unwrap().merged_into.as_ref(), Some(&one));
    assert_eq!(play.engine.issue(&one).unwrap().members.count, 2);
    // The condition of the merged one comes back: it joins the other.
    see(&mut play, "o2", "assigned");
    see(&mut play, "o2", "unassigned");
    assert_eq!(play.engine.issues().filter(|issue| issue.state != IssueState::Resolved).count(), 1);
    see(&mut play, "o1", "assigned");
    assert_eq!(play.engine.issue(&one).unwrap().state, IssueState::Open);
    see(&mut play, "o2", "assigned");
    assert_eq!(play.engine.issue(&one).unwrap().state, IssueState::Resolved);
}

#[test]
fn affected_members_tell_how_urgent_it_is() {
    let mut play = Play::new(CITY);
    see(&mut play, "o1", "fine");
    let mut late = body("o2", "fine");
    late["due"] = json!(at(15).to_string());
    play.saw("http://t/orders/o2", late);
    let orders = json!([{"href": "http://t/orders/o1"}, {"href": "http://t/orders/o2"}]);
    play.saw(R1, json!({"id": "r1", "on_job": false, "zone": "north", "_links": {"orders": orders}}));
    let issue = find(&play, "r1 stands");
    let named: Vec<_> = issue.members.first.iter().map(|m| (m.label.clone().unwrap(), m.slack_at)).collect();
    let (o1, o2) = ("order o1".to_owned(), "order o2".to_owned());
    assert_eq!(named, [(o2, Some(at(15))), (o1, Some(at(60)))]);
    assert_eq!((issue.members.count, issue.members.worst), (2, Some(at(15))));
    let terms: Vec<(&str, i32)> = issue.terms.iter().map(|term| (term.name.as_str(), term.points)).collect();
    assert_eq!(terms, [("base", 40), ("urgency", 15), ("members", 5)]);
    assert_eq!(issue.priority, 60);
}

#[test]
fn an_issue_may_need_several_occurrences() {
    let mut play = Play::new(CITY);
    see(&mut play, "o1", "cancelled");
    play.run(11);
    see(&mut play, "o2", "cancelled");
    see(&mut play, "o3", "cancelled");
    assert_eq!(play.engine.issues().count(), 0);
    see(&mut play, "o3", "fine");
    see(&mut play, "o4", "cancelled");
    let issue = find(&play, "many are cancelled");
    assert_eq!(issue.members.count, 2, "o3 is fine again");
    see(&mut play, "o2", "fine");
    see(&mut play, "o4", "fine");
    assert_eq!(find(&play, "many are cancelled").state, IssueState::Resolved);
}

#[test]
fn a_storm_is_one_issue() {
    let mut play = Play::new(CITY);
    for number in 0..50 {
        see(&mut play, &format!("o{number}"), "noisy");
    }
    let open: Vec<_> = play.engine.issues().filter(|issue| issue.rule == "noisy").collect();
    assert_eq!(open.len(), 4);
    let storm = open.iter().find(|issue| issue.storm).unwrap();
    assert_eq!((storm.key.as_str(), storm.members.count), ("storm/noisy", 47));
    assert_eq!(storm.title, "storm: rule noisy has more than it should; 3 are open at once");
    let told = play.told().iter().filter(|told| told.contains("opened storm")).count();
    assert_eq!(told, 1, "it is told of once");
    for number in 0..50 {
        see(&mut play, &format!("o{number}"), "fine");
    }
    assert!(play.engine.issues().all(|issue| issue.state == IssueState::Resolved));
}

#[test]
fn a_rule_in_the_shadow_is_not_told_of() {
    let mut play = Play::new(CITY);
    see(&mut play, "o1", "noisy");
    let shadow = find(&play, "o1 is noisy too");
    assert_eq!(shadow.rule_mode.as_deref(), Some("shadow"));
    assert_eq!(play.told(), ["0 opened o1 is noisy"]);
    assert_eq!(play.engine.days()[0].opened, 1);
    let enabled = CITY.replace("mode: shadow\n", "");
    play.step(None, What::Rules { rules: rules(&enabled), is_other_clock: false });
    assert_eq!(find(&play, "o1 is noisy too").rule_mode, None);
    assert_eq!(play.told(), ["0 opened o1 is noisy", "0 opened o1 is noisy too"]);
}
