//! What may be done about an issue, by whom, and what keeps rules from doing too much.

use hob_wire::{Action, ActionState};

use super::*;

const RIDERS: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, calm: bool}
---
entity: rider
from: {topic: riders}
fields: {id: string, on_job: bool}
---
rule: unassigned
about: order
when: order.state == 'unassigned'
issue: {title: '{{order.id}} has no rider', verify: 5m, reopen_within: 0s}
actions:
  - {do: force, mode: auto, with: {why: '{{order.id}} waits', times: 2}, guard: GUARD}
  - {do: call, mode: approve}
  - {do: tell}
";

/// A city whose action `force` has this guard.
fn city(guard: &str) -> Play {
    Play::new(&RIDERS.replace("GUARD", guard))
}

fn links(relations: &[&str]) -> Value {
    let link = |relation: &&str| {
        ((*relation).to_owned(), json!({"href": format!("/do/{relation}"), "title": "Do it"}))
    };
    Value::Object(relations.iter().map(link).collect())
}

fn see(play: &mut Play, id: &str, state: &str, relations: &[&str]) -> Vec<Action> {
    let body = json!({"id": id, "state": state, "calm": state != "calmless", "_links": links(relations)});
    let before = play.engine.to_do().len();
    play.saw(&format!("http://t/orders/{id}"), body);
    play.engine.to_do().split_off(before)
}

fn end(play: &mut Play, action: &Action, status: u16) {
    let told = |verb| Command {
        verb,
        issue: String::new(),
        actor: "hob".to_owned(),
        reason: String::new(),
        revision: None,
    };
    play.step(None, What::Command(told(Verb::Begun { action: action.id.clone() })));
    assert!(play.engine.under_way().iter().any(|one| one.id == action.id));
    let error = (status != 200).then(|| "the kitchen burns".to_owned());
    play.step(None, What::Command(told(Verb::Acted { action: action.id.clone(), status, error })));
    assert!(play.engine.under_way().is_empty());
}

fn newest(play: &Play, relation: &str) -> Action {
    let mut actions = play.engine.actions().filter(|action| action.relation == relation);
    actions.next().unwrap_or_else(|| panic!("no {relation} in {:?}", play.told())).clone()
}

fn act(relation: &str) -> Verb {
    Verb::Act { relation: relation.to_owned(), action: None, again: false }
}

#[test]
fn only_links_that_are_there_can_be_followed() {
    let mut play = city("{trusted: true}");
    assert!(see(&mut play, "o1", "unassigned", &[]).is_empty());
    assert!(play.only_issue().actions.is_empty());
    let id = play.only_issue().id.clone();
    assert!(matches!(play.command(act("tell"), &id), Some(Refusal::Action { .. })));
    // Links come: the rule acts, proposes, and offers.
    let wanted = see(&mut play, "o1", "unassigned", &["force", "call", "tell", "self"]);
    assert_eq!(wanted.len(), 1);
    let Action { href, method, with, actor, .. } = &wanted[0];
    assert_eq!(
        (href.as_str(), method.as_str(), actor.as_str()),
        ("http://t/do/force", "POST", "rule/unassigned")
    );
    assert_eq!(Value::Object(with.clone()), json!({"why": "o1 waits", "times": 2}));
    let offers: Vec<_> = play.only_issue().actions.iter().map(|o| (o.relation.as_str(), o.state)).collect();
    let all =
        [("force", ActionState::Running), ("call", ActionState::Waiting), ("tell", ActionState::Offered)];
    assert_eq!(offers, all);
    end(&mut play, &wanted[0], 200);
    assert_eq!(newest(&play, "force").state, ActionState::Done);
    // They go again.
    see(&mut play, "o1", "unassigned", &["tell"]);
    assert_eq!(play.only_issue().actions.len(), 1);
    play.observe("http://t/orders/o1", 500, None);
    assert!(play.only_issue().actions.is_empty());
}

#[test]
fn a_proposal_is_approved_once_and_only_for_a_while() {
    let mut play = city("{trusted: true}");
    see(&mut play, "o1", "unassigned", &["call"]);
    let id = play.only_issue().id.clone();
    let proposed = newest(&play, "call");
    assert_eq!((proposed.state, proposed.until), (ActionState::Waiting, Some(at(10))));
    let meant = |action: &str| Verb::Act {
        relation: "call".to_owned(),
        action: Some(action.to_owned()),
        again: false,
    };
    assert!(matches!(play.command(meant("other"), &id), Some(Refusal::Action { .. })));
    assert_eq!(play.command_of("anna", meant(&proposed.id), &id, None), None);
    let second = play.command_of("ben", meant(&proposed.id), &id, None);
    assert_eq!(second, Some(Refusal::Action { why: "it is being done already, as anna wanted".to_owned() }));
    let wanted = play.engine.to_do();
    assert_eq!((wanted.len(), wanted[0].approved_by.as_deref()), (1, Some("anna")));
    end(&mut play, &wanted[0], 200);
    let third = play.command_of("ben", act("call"), &id, None);
    assert_eq!(third, Some(Refusal::Action { why: "it was done already, as anna wanted".to_owned() }));
    assert_eq!(play.engine.days()[0].investigations, 1);
    // Another one is approved by nobody.
    see(&mut play, "o2", "unassigned", &["call"]);
    play.run(11);
    assert_eq!(newest(&play, "call").state, ActionState::Expired);
    let other = play.engine.issues().find(|issue| issue.title.starts_with("o2")).unwrap();
    assert_eq!(other.actions[0].reason.as_deref(), Some("nobody approved it in time"));
}

#[test]
fn a_young_rule_only_rehearses() {
    let mut play = city("{}");
    assert!(see(&mut play, "o1", "unassigned", &["force"]).is_empty());
    let action = newest(&play, "force");
    assert_eq!(action.state, ActionState::DryRun);
    assert!(action.reason.contains("acts in 1d"), "{}", action.reason);
    play.clock(24 * 60);
    assert_eq!(see(&mut play, "o2", "unassigned", &["force"]).len(), 1);
    // A changed rule is young again.
    let changed = RIDERS.replace("GUARD", "{}").replace("has no rider", "waits");
    play.step(None, What::Rules { rules: rules(&changed), is_other_clock: false });
    assert!(see(&mut play, "o3", "unassigned", &["force"]).is_empty());
}

#[test]
fn rates_hold_actions_back_and_let_them_pass_later() {
    let mut play = city("{trusted: true, per_rule: 2/10m, per_entity: 1/1h, max_concurrent: 1}");
    let first = see(&mut play, "o1", "unassigned", &["force"]);
    assert!(see(&mut play, "o2", "unassigned", &["force"]).is_empty());
    assert_eq!(newest(&play, "force").reason, "1 are being done");
    end(&mut play, &first[0], 200);
    play.run(1);
    let second = play.engine.to_do();
    assert_eq!((second.len(), second[0].about.as_str()), (1, "http://t/orders/o2"));
    end(&mut play, &second[0], 200);
    assert!(see(&mut play, "o3", "unassigned", &["force"]).is_empty());
    assert_eq!(newest(&play, "force").reason, "2 in 10m were done");
    play.run(12);
    let third = play.engine.to_do();
    assert_eq!((third.len(), third[0].about.as_str()), (1, "http://t/orders/o3"));
    end(&mut play, &third[0], 200);
    // The same order again: once an hour.
    see(&mut play, "o1", "fine", &["force"]);
    assert!(see(&mut play, "o1", "unassigned", &["force"]).is_empty());
    assert_eq!(newest(&play, "force").reason, "1 in 1h for one entity were done");
}

#[test]
fn only_if_reads_the_entity() {
    let mut play = city("{trusted: true, only_if: order.calm}");
    let body =
        |calm: Value| json!({"id": "o1", "state": "unassigned", "calm": calm, "_links": links(&["force"])});
    play.saw(O1, body(json!(false)));
    assert_eq!(newest(&play, "force").reason, "order.calm is not so");
    play.saw(O1, body(json!("odd")));
    assert_eq!(newest(&play, "force").reason, "order.calm cannot be told");
    play.saw(O1, body(json!(true)));
    assert_eq!(play.engine.to_do().len(), 1);
}

#[test]
fn failures_stop_an_action_until_people_resume_it() {
    let mut play = city("{trusted: true, stop_after_failures: 2}");
    for (order, status) in [("o1", 500), ("o2", 0)] {
        let wanted = see(&mut play, order, "unassigned", &["force"]);
        end(&mut play, &wanted[0], status);
    }
    assert_eq!(newest(&play, "force").reason, "failed: the kitchen burns");
    assert!(see(&mut play, "o3", "unassigned", &["force"]).is_empty());
    let stopped = play.engine.actions_state().stopped;
    assert_eq!(stopped["unassigned/force"], "it did not work 2 times, last: failed: the kitchen burns");
    play.command(Verb::ResumeActions, "");
    assert_eq!(play.engine.to_do().len(), 1);
}

#[test]
fn what_does_not_help_is_a_failure_too() {
    let mut play = city("{trusted: true, stop_after_failures: 1}");
    let wanted = see(&mut play, "o1", "unassigned", &["force"]);
    end(&mut play, &wanted[0], 200);
    play.run(6);
    assert_eq!(newest(&play, "force").helped, Some(false));
    assert!(play.engine.actions_state().stopped.contains_key("unassigned/force"));
    // One that helped is none.
    let mut play = city("{trusted: true, stop_after_failures: 1}");
    let wanted = see(&mut play, "o1", "unassigned", &["force"]);
    end(&mut play, &wanted[0], 200);
    see(&mut play, "o1", "fine", &[]);
    play.run(6);
    assert_eq!(newest(&play, "force").helped, Some(true));
    assert_eq!(play.engine.actions_state().stopped.len(), 0);
}

#[test]
fn the_kill_switch_stops_everybody() {
    let mut play = city("{trusted: true}");
    play.command(Verb::PauseActions, "");
    assert!(see(&mut play, "o1", "unassigned", &["force", "tell"]).is_empty());
    let id = play.only_issue().id.clone();
    let paused = Refusal::Paused { by: "anna".to_owned(), reason: "looked at it".to_owned() };
    assert_eq!(play.command(act("tell"), &id), Some(paused));
    assert_eq!(newest(&play, "force").reason, "anna paused all actions");
    play.command(Verb::ResumeActions, "");
    assert_eq!(play.engine.to_do().len(), 1, "what was held back is done now");
}

#[test]
fn rules_leave_alone_what_people_have_taken_up() {
    let mut play = city("{trusted: true}");
    see(&mut play, "o1", "unassigned", &[]);
    let id = play.only_issue().id.clone();
    play.command(Verb::Acknowledge { held: None }, &id);
    assert!(see(&mut play, "o1", "unassigned", &["force"]).is_empty());
    assert_eq!(play.engine.actions().count(), 0);
}

#[test]
fn nothing_acts_on_what_it_caused_itself() {
    let mut play = city("{trusted: true}");
    let wanted = see(&mut play, "o1", "unassigned", &["force"]);
    end(&mut play, &wanted[0], 200);
    // The service tells of an order because of the request of the action.
    play.request = Some(wanted[0].id.clone());
    play.event("orders", Some("http://t/orders/o2"), None);
    assert!(see(&mut play, "o2", "unassigned", &["force", "tell"]).is_empty());
    let caused = newest(&play, "force");
    assert_eq!(caused.state, ActionState::Refused);
    assert!(caused.reason.starts_with("its own action"), "{}", caused.reason);
    // People may.
    let id = play.engine.issues().find(|issue| issue.title.starts_with("o2")).unwrap().id.clone();
    assert_eq!(play.engine.issue(&id).unwrap().caused_by.as_ref(), Some(&wanted[0].id));
    assert_eq!(play.command(act("tell"), &id), None);
    assert_eq!(newest(&play, "tell").depth, 1);
}
