//! What people do to an issue, and what time does.

use std::time::Duration;

use super::*;

const ZONE: &str = "\
entity: order
from: {topic: orders}
---
rule: zone
about: order
when: order.state == 'stuck'
issue: {title: 'north is stuck', key: 'zone/{{order.zone}}'}
";

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// An order that has waited for four minutes, and its issue.
fn waiting() -> (Play, String) {
    let mut play = Play::new(RULES);
    play.saw(O1, order("placed"));
    play.run(4);
    let id = play.only_issue().id.clone();
    (play, id)
}

fn ack(held: Option<u64>) -> Verb {
    Verb::Acknowledge { held: held.map(minutes) }
}

fn last(play: &Play) -> &str {
    play.told.last().map(String::as_str).unwrap()
}

#[test]
fn an_acknowledgement_ends_and_the_issue_is_open_again() {
    let (mut play, id) = waiting();
    assert_eq!(play.command(ack(Some(5)), &id), None);
    assert_eq!((play.only_issue().priority, play.only_issue().acknowledged_until), (40, Some(at(9))));
    play.run(10);
    assert_eq!(last(&play), "9 escalated order o1 waits for 4m");
    let issue = play.only_issue();
    assert_eq!((issue.state, issue.escalated, issue.assignee.clone()), (IssueState::Open, 1, None));
    assert_eq!(issue.priority, 70);
    let terms: Vec<(&str, i32)> = issue.terms.iter().map(|term| (term.name.as_str(), term.points)).collect();
    assert_eq!(terms, [("base", 60), ("escalated", 10)]);
    assert_eq!(issue.acknowledged, Some(at(4)));
}

#[test]
fn the_second_of_two_people_is_told_who_was_first() {
    let (mut play, id) = waiting();
    let seen = Some(play.only_issue().revision);
    assert_eq!(play.command_of("anna", ack(None), &id, seen), None);
    let changed = |what: &str| Some(Refusal::Changed { what: what.to_owned() });
    let already = Refusal::Already { state: IssueState::Acknowledged, by: Some("anna".to_owned()) };
    assert_eq!(play.command_of("ben", ack(None), &id, seen), Some(already));
    let mine = |name: &str| Verb::Assign { to: Some(name.to_owned()) };
    assert_eq!(play.command_of("ben", mine("ben"), &id, seen), changed("acknowledged by anna"));
    assert_eq!(play.command_of("ben", mine("ben"), &id, None), changed("assigned to anna"));
    // Who has seen whose it is may take it.
    let seen = Some(play.only_issue().revision);
    assert_eq!(play.command_of("ben", mine("ben"), &id, seen), None);
    assert_eq!(play.only_issue().assignee.as_deref(), Some("ben"));
    let snooze = Verb::Snooze { until: None, held: Some(minutes(5)), until_worse: false };
    assert_eq!(play.command_of("anna", snooze.clone(), &id, None), None);
    assert_eq!(play.command_of("ben", snooze, &id, None), changed("snoozed by anna"));
    // One's own deeds are no news to oneself.
    let resolve = Verb::Resolve { how: Some(ResolveAs::FalseAlarm) };
    let seen = Some(play.only_issue().revision - 1);
    assert_eq!(play.command_of("anna", resolve.clone(), &id, seen), None);
    let already = Refusal::Already { state: IssueState::Resolved, by: Some("anna".to_owned()) };
    assert_eq!(play.command_of("ben", resolve, &id, None), Some(already));
}

#[test]
fn a_snooze_silences_and_hides_nothing() {
    let (mut play, id) = waiting();
    let past = Verb::Snooze { until: Some(at(1)), held: None, until_worse: false };
    assert!(matches!(play.command(past, &id), Some(Refusal::Senseless { .. })));
    let snooze = Verb::Snooze { until: None, held: Some(minutes(10)), until_worse: false };
    assert_eq!(play.command(snooze.clone(), &id), None);
    let issue = play.only_issue();
    assert_eq!((issue.state, issue.snoozed.as_ref().unwrap().until), (IssueState::Open, Some(at(14))));
    play.run(15);
    assert_eq!(last(&play), "14 woken order o1 waits for 4m");
    assert_eq!(play.only_issue().snoozed, None);
    // The end of its condition is told all the same.
    assert_eq!(play.command(snooze, &id), None);
    play.saw(O1, order("accepted"));
    play.run(17);
    assert_eq!(last(&play), "16 resolved order o1 waits for 4m");
}

#[test]
fn a_snooze_until_it_is_worse_ends_when_it_is() {
    let mut play = Play::new(RULES);
    play.saw(R1, json!({"id": "r1", "on_job": false}));
    let mut body = order("accepted");
    body["_links"] = json!({"rider": {"href": R1}});
    play.saw(O1, body);
    play.run(35);
    let id = play.only_issue().id.clone();
    assert_eq!(last(&play), "35 opened o1 due in 5m");
    assert_eq!(play.only_issue().priority, 55);
    let snooze = Verb::Snooze { until: None, held: None, until_worse: true };
    assert_eq!(play.command(snooze, &id), None);
    play.run(40);
    assert_eq!(last(&play), "38 woken o1 due in 5m");
    let reasons = &play.only_issue().terms;
    assert_eq!(reasons.iter().find(|term| term.name == "urgency").unwrap().points, 30);
}

#[test]
fn resolving_while_the_condition_holds_must_say_how() {
    let (mut play, id) = waiting();
    let resolve = |how| Verb::Resolve { how };
    assert_eq!(play.command(resolve(None), &id), Some(Refusal::Holds));
    assert_eq!(play.command(resolve(Some(ResolveAs::Fixed)), &id), None);
    assert_eq!(play.only_issue().verify_at, Some(at(9)));
    play.run(10);
    assert_eq!(last(&play), "9 reopened order o1 waits for 4m");
    // It holds on, so that its end ends the issue.
    play.saw(O1, order("accepted"));
    play.run(12);
    assert_eq!(last(&play), "11 resolved order o1 waits for 4m");
    // What is over needs no word.
    play.saw(O1, order("placed"));
    play.run(17);
    assert_eq!(last(&play), "16 reopened order o1 waits for 4m");
    play.saw(O1, order("accepted"));
    assert_eq!(play.command(resolve(None), &id), None);
    assert_eq!(play.only_issue().verify_at, None);
}

#[test]
fn what_was_fixed_stays_resolved() {
    let (mut play, id) = waiting();
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::Fixed) }, &id), None);
    play.saw(O1, order("accepted"));
    play.run(20);
    assert_eq!(last(&play), "4 resolved order o1 waits for 4m");
    assert_eq!(play.only_issue().verify_at, None);
}

#[test]
fn an_issue_to_be_verified_ends_by_itself_or_comes_back() {
    let (mut play, id) = waiting();
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::Verify) }, &id), None);
    assert_eq!(play.only_issue().state, IssueState::Acknowledged);
    play.run(10);
    assert_eq!(last(&play), "9 escalated order o1 waits for 4m");
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::Verify) }, &id), None);
    play.saw(O1, order("accepted"));
    play.run(12);
    assert_eq!(last(&play), "11 resolved order o1 waits for 4m");
}

#[test]
fn a_false_alarm_counts_against_its_rule() {
    let (mut play, id) = waiting();
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::FalseAlarm) }, &id), None);
    assert_eq!(play.only_issue().label.as_deref(), Some("false-alarm"));
    let day = &play.engine.days()[0];
    assert_eq!((day.opened, day.resolved, day.false_alarms, day.investigations), (1, 1, 1, 1));
    assert_eq!(play.engine.rule_figures("waiting").false_alarms, 1);
    play.command(Verb::Label { label: None }, &id);
    assert_eq!(play.engine.days()[0].false_alarms, 0);
    assert_eq!(last(&play), "4 labelled order o1 waits for 4m");
    assert_eq!(play.engine.days()[0].entities["order"], 1);
}

#[test]
fn what_is_unknown_freezes_an_issue() {
    let mut play = Play::new(RULES);
    let mut body = order("stuck");
    body["promised_at"] = Value::Null;
    play.saw(O1, body.clone());
    play.run(1);
    assert_eq!(play.told(), ["0 opened north is stuck"]);
    play.observe(O1, 500, None);
    assert!(play.only_issue().unknown.is_some());
    // It does not expire after its hour, and an acknowledgement does not end.
    let id = play.only_issue().id.clone();
    play.command(ack(Some(5)), &id);
    play.run(80);
    assert_eq!(play.told().len(), 2, "{:?}", play.told());
    play.saw(O1, body);
    assert_eq!(play.only_issue().unknown, None);
    play.run(82);
    assert_eq!(&play.told()[2..], ["81 resolved north is stuck"]);
}

#[test]
fn notes_stay_while_other_evidence_makes_room() {
    let (mut play, id) = waiting();
    play.command(Verb::Note { text: "called them".to_owned() }, &id);
    for _ in 0..100 {
        play.command(Verb::Label { label: None }, &id);
    }
    let issue = play.only_issue();
    assert_eq!(issue.evidence.len(), 60);
    assert!(issue.evidence.iter().any(|piece| piece.kind == "note" && piece.text == "called them"));
    assert_eq!(issue.evidence[0].kind, "entity");
}

#[test]
fn transitions_tell_what_they_changed() {
    let (mut play, id) = waiting();
    let out = play.step(
        None,
        What::Command(Command {
            verb: ack(None),
            issue: id,
            actor: "anna".to_owned(),
            reason: "mine".to_owned(),
            revision: None,
        }),
    );
    let told = out.iter().find_map(|output| match output {
        Output::Transition { transition, .. } => Some(transition.as_ref()),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!((told.actor.as_str(), told.reason.as_str(), told.time), ("anna", "mine", at(4)));
    assert_eq!(
        Value::Object(told.before.clone()),
        json!({"state": "open", "priority": 60, "assignee": null})
    );
    let after = json!({"state": "acknowledged", "priority": 40, "assignee": "anna"});
    assert_eq!(Value::Object(told.after.clone()), after);
}

#[test]
fn ten_thousand_members_are_counted_and_few_are_named() {
    let mut play = Play::new(ZONE);
    for number in 0..10_000 {
        let mut body = order("stuck");
        body["id"] = json!(format!("o{number}"));
        play.saw(&format!("http://t/orders/o{number}"), body);
    }
    let issue = play.engine.issues().find(|issue| issue.rule == "zone").unwrap();
    assert_eq!((issue.members.count, issue.members.first.len()), (10_000, 20));
    assert!(serde_json::to_vec(issue).unwrap().len() < 40_000);
    let id = issue.id.clone();
    play.run(1);
    assert_eq!(play.engine.issue(&id).unwrap().priority, 100);
    for number in 0..9_990 {
        let mut body = order("accepted");
        body["id"] = json!(format!("o{number}"));
        play.saw(&format!("http://t/orders/o{number}"), body);
    }
    play.run(2);
    let issue = play.engine.issue(&id).unwrap();
    assert_eq!((issue.members.count, issue.state), (10, IssueState::Open));
}
