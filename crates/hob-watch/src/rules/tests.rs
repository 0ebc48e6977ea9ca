//! Rule files that are right, and every way in which they can be wrong, with its place.

use hob_wire::FileText;

use super::compile;

const ENTITY: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, placed_at: ts, promised_at: ts, rider: string}
links: {rider: rider}
---
entity: rider
from: {topic: riders, stream: rider.pings}
";

fn flaws(text: &str) -> Vec<String> {
    let files = [
        FileText { file: "entities.yml".to_owned(), text: ENTITY.to_owned() },
        FileText { file: "r.yml".to_owned(), text: text.to_owned() },
    ];
    match compile(&files) {
        Ok(_) => Vec::new(),
        Err(flaws) => flaws.iter().map(ToString::to_string).collect(),
    }
}

fn check(text: &str, expect: &[&str]) {
    assert_eq!(flaws(text), expect, "\n{text}");
}

#[test]
fn good_rules_are_taken() {
    check(
        "rule: a\nabout: order\nwhen: order.state == 'placed'\nfor: 4m\nissue: {title: '{{order.id}} {{held}}'}\n",
        &[],
    );
    check(
        "rule: a\nabout: order\ndeadline: {field: order.promised_at, before: 5m, unless: rider.on_job}\n\
         gate: order.promised_at - now < duration('3m')\nkeep: 1m\n\
         issue: {title: x, key: 'o/{{order.id}}', priority: 80, urgency: {field: order.promised_at, within: 30m}, \
         affects: [rider], reopen_within: 5m, expire: 2h}\n",
        &[],
    );
    check(
        "rule: a\nabout: rider\nstopped: {of: rider, metres: 50, for: 5m, while: rider.on_job}\nissue: {title: x}\n",
        &[],
    );
}

#[test]
fn unknown_keys_and_words_name_the_nearest() {
    check(
        "rule: a\nabout: ordr\nwhen: 'true'\nissue: {title: x}\n",
        &["r.yml:2:8: there is no entity `ordr`; did you mean `order`?"],
    );
    check(
        "rule: a\nabout: order\nwhne: 'true'\nissue: {title: x, prioritie: 3}\n",
        &[
            "r.yml:3:1: unknown key `whne`; did you mean `when`?",
            "r.yml:1:1: the rule does not say when; write one of `when`, `deadline`, `stopped`, `absent`, `count`, \
             `rate`, `spike`, `change`, `fence`, `flatline`, `new_term`",
            "r.yml:4:19: unknown key `prioritie`; did you mean `priority`?",
        ],
    );
    check(
        "entitty: x\n",
        &["r.yml:1:1: neither an entity nor a rule; begin the document with `entity:` or `rule:`"],
    );
}

#[test]
fn what_comes_later_is_refused_by_name() {
    check(
        "rule: a\nabout: order\nnotify: [{to: board}]\nwhen: 'true'\nissue: {title: x}\n",
        &["r.yml:3:1: `notify` is not supported yet; leave it out"],
    );
    check(
        "groups:\n  - name: x\n",
        &[
            "r.yml:1:1: `groups`: Prometheus rule files are not supported yet; move the file out of what hob.yml calls rules",
        ],
    );
    check(
        "entity: x\nfrom: {topic: hob.instances}\n",
        &["r.yml:2:15: rules over Hob's own topic `hob.instances` are not supported yet"],
    );
}

#[test]
fn expressions_are_checked_in_their_place() {
    let rule = |when: &str| format!("rule: a\nabout: order\nwhen: {when}\nissue: {{title: x}}\n");
    check(
        &rule("order.stat == 'placed'"),
        &["r.yml:3:7: entity `order` has no field `stat`; did you mean `state`?"],
    );
    check(
        &rule("\"order.state == 'x' && ridr.on_job\""),
        &["r.yml:3:30: there is no `ridr` here; did you mean `rider`?"],
    );
    check(
        &rule("|\n  order.state == 'x'\n  && durration('5m') > now"),
        &["r.yml:5:15: there is no function `durration`; did you mean `duration`?"],
    );
    assert!(flaws(&rule("order.state = 'x'"))[0].starts_with("r.yml:3:19: not a CEL expression"));
    assert!(flaws(&rule(&format!("'{}'", "x".repeat(3000))))[0].contains("at most 2048 are read"));
}

#[test]
fn triggers_stand_alone_and_have_what_they_need() {
    let rule = |body: &str| format!("rule: a\nabout: order\n{body}\nissue: {{title: x}}\n");
    check(
        &rule("when: 'true'\ndeadline: {field: order.promised_at}"),
        &["r.yml:4:11: `deadline` stands beside `when`; a rule has one of them; write two rules"],
    );
    check(
        &rule("deadline: {field: promised_at, before: 5m, after: 3m}\nfor: 5m"),
        &[
            "r.yml:4:6: `for` goes with `when`, not with `deadline`; leave it out",
            "r.yml:3:19: `promised_at` is no field; write entity.field, for example order.promised_at",
            "r.yml:3:51: both `before` and `after`; a deadline has one of them",
        ],
    );
    check(
        &rule("stopped: {metres: 50, for: 5m}"),
        &[
            "r.yml:3:10: `stopped` needs a stream; give entity `order` a stream of positions: `from: {stream: …}`",
        ],
    );
    check(
        &rule("when: 'true'\nfor: 5 minutes"),
        &[
            "r.yml:4:6: failed to read \"5 minutes\" as a duration: write a number and a unit (ms, s, m, h, d), for example 250ms or 1h30m",
        ],
    );
}

#[test]
fn templates_are_checked_in_their_place() {
    let rule = |title: &str| format!("rule: a\nabout: order\nwhen: 'true'\nissue: {{title: '{title}'}}\n");
    check(
        &rule("{{order.idd}} waits"),
        &["r.yml:4:19: entity `order` has no field `idd`; did you mean `id`?"],
    );
    check(&rule("waits {{order.id"), &["r.yml:4:23: `{{` is not closed by `}}`"]);
    check(
        &rule("{{held}} {{zone.id}}"),
        &["r.yml:4:28: there is no `zone` here; known here are order, rider"],
    );
}

#[test]
fn entities_are_checked_as_one() {
    check(
        "entity: order\nfrom: {topic: orders2}\n---\nentity: zone\nfrom: {topic: orders}\nlinks: {of: orderr, zone: order}\n\
         forget: {after: 3m, when: now > zone.at}\nfigures: [{name: a, when: 'true'}, {name: a, when: zzz}]\n",
        &[
            "r.yml:1:1: entity `order` is declared twice",
            "r.yml:6:21: the relation `zone` hides the entity itself; link by another name",
            "r.yml:7:27: `now` cannot be read here: this is looked at only when the entity changes",
            "r.yml:8:36: the figure `a` stands here twice",
            "r.yml:8:52: there is no `zzz` here; known here are zone",
            "r.yml:4:1: entity `zone` comes from the same topic as `order`; one topic carries one kind of entity",
            "r.yml:6:13: there is no entity `orderr`; did you mean `order`?",
        ],
    );
}

#[test]
fn files_that_are_not_yaml_are_told_with_the_others() {
    let told = flaws("rule: [\n");
    assert!(told[0].starts_with("r.yml:") && told[0].contains("not YAML"), "{told:?}");
}

#[test]
fn the_rules_of_the_example_are_good() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/takeaway/rules");
    let read = |entry: std::fs::DirEntry| FileText {
        file: entry.file_name().to_string_lossy().into_owned(),
        text: std::fs::read_to_string(entry.path()).unwrap(),
    };
    let files: Vec<FileText> = std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    let rules = compile(&files).map_err(|flaws| flaws.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(rules.map(|rules| rules.rules.len()), Ok(7));
}

const CITY: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, zone: string, restaurant: string, dispatchable_at: ts, eta: number, reason: string}
links: {rider: rider, restaurant: restaurant}
derive:
  waits_at: order.dispatchable_at + duration('8m')
  slack: order.waits_at - now
  is_rider_idle: rider.is_idle
---
entity: rider
from: {topic: riders, stream: rider.pings}
fields: {id: string, state: enum, home: map}
links: {orders: [order], restaurant: restaurant}
derive: {is_idle: rider.state == 'idle'}
---
{entity: restaurant, from: {topic: restaurants}, fields: {id: string, name: string}}
---
{entity: zone, from: {field: order.zone}, links: {orders: [order]}}
";

fn city(text: &str) -> Vec<String> {
    let files = [
        FileText { file: "city.yml".to_owned(), text: CITY.to_owned() },
        FileText { file: "r.yml".to_owned(), text: text.to_owned() },
    ];
    match compile(&files) {
        Ok(_) => Vec::new(),
        Err(flaws) => flaws.iter().map(ToString::to_string).collect(),
    }
}

fn check_city(text: &str, expect: &[&str]) {
    assert_eq!(city(text), expect, "\n{text}");
}

#[test]
fn every_trigger_is_read() {
    for (about, trigger) in [
        ("rider", "absent: {event: rider.pings, within: 90s, while: rider.state == 'busy'}"),
        ("rider", "absent: {within: 90s}"),
        ("restaurant", "count: {of: orders.cancelled, by: restaurant, at_least: 3, within: 30m}"),
        ("restaurant", "count: {of: orders, where: \"event.type == 'x'\", at_least: 3, within: 30m}"),
        (
            "zone",
            "count: {of: order, where: order.state == 'accepted' && order.waits_at < now, by: zone, at_least: 5}",
        ),
        ("zone", "count: {of: order, at_least: 5, for: 8m}"),
        ("zone", "count: {of: declined, topic: card.payments, by: event.zone, at_least: 5, within: 5m}"),
        ("restaurant", "count: {of: order, by: order.restaurant, at_least: 5, within: 10m}"),
        ("card.payments", "count: {at_least: 50, within: 5m}"),
        ("{topic: payments, by: shop}", "when: event.amount > 1000"),
        ("{topic: payments, by: shop}", "spike: {window: 10m, against: 1h, factor: 3, at_least: 20}"),
        ("rider", "rate: {of: rider.pings, below: 4/m, window: 5m}"),
        ("order", "change: {field: order.eta, by: 10, within: 15m, direction: up}"),
        ("order", "change: {field: order.dispatchable_at, by: 10m, within: 15m}"),
        ("order", "change: {field: order.state, at_least: 4, within: 15m}"),
        ("rider", "fence: {of: rider, around: restaurant, metres: 150, dwell: 10m}"),
        ("rider", "fence: {around: rider.home, metres: 150, exit: true}"),
        ("card.payments", "flatline: {within: 10m, below: 3}"),
        ("{topic: logs, by: stack}", "new_term: {field: event.stack, ttl: 7d}"),
        ("rider", "when: \"orders.exists(o, o.slack < duration('20m') && o.state != 'x')\""),
        ("order", "when: rider.is_idle && zone.id == 'north'"),
    ] {
        check_city(&format!("rule: a\nabout: {about}\n{trigger}\nissue: {{title: x}}\n"), &[]);
    }
}

#[test]
fn triggers_name_what_they_cannot_find() {
    for (about, trigger, flaw) in [
        ("ordr", "when: 'true'", "r.yml:2:8: there is no entity `ordr`; did you mean `order`?"),
        (
            "rider",
            "absent: {event: ridr.pings, within: 90s}",
            "r.yml:3:17: no entity, topic or type of event is called `ridr.pings`; did you mean `rider.pings`?",
        ),
        (
            "zone",
            "count: {of: rider, at_least: 3}",
            "r.yml:3:8: it is not clear how `rider` leads to `zone`; name the relation or the field with `by:`",
        ),
        (
            "zone",
            "count: {of: order, by: zoen, at_least: 3}",
            "r.yml:3:24: entity `order` has no relation and no field `zoen`; did you mean `zone`?",
        ),
        (
            "zone",
            "count: {of: order, where: order.stat == 'x', at_least: 3}",
            "r.yml:3:27: entity `order` has no field `stat`; did you mean `state`?",
        ),
        (
            "zone",
            "count: {of: order, by: restaurant, at_least: 3}",
            "r.yml:3:24: `restaurant` leads to `restaurant`; the rule is about `zone`; write `about: restaurant`, or another relation",
        ),
        (
            "restaurant",
            "count: {of: orders.x, at_least: 3}",
            "r.yml:3:8: the key `within` is missing; events are counted over a time; entities need none",
        ),
        (
            "rider",
            "when: orders.slack > 3",
            "r.yml:3:7: `orders` is a list, which has no field `slack`; ask of its items: orders.exists(x, x.slack == …)",
        ),
        (
            "rider",
            "when: orders.exists(o, o.slak > 3)",
            "r.yml:3:24: entity `order` has no field `slak`; did you mean `slack`?",
        ),
    ] {
        check_trigger(about, trigger, flaw);
    }
}

fn check_trigger(about: &str, trigger: &str, flaw: &str) {
    check_city(&format!("rule: a\nabout: {about}\n{trigger}\nissue: {{title: x}}\n"), &[flaw]);
}

#[test]
fn triggers_name_what_they_lack() {
    for (about, trigger, flaw) in [
        (
            "rider",
            "fence: {around: restauran, metres: 5, enter: true}",
            "r.yml:3:17: `rider` has no relation `restauran`; did you mean `restaurant`?",
        ),
        (
            "rider",
            "fence: {around: restaurant, metres: 5}",
            "r.yml:3:8: a fence is entered, left or dwelt in; write `enter: true`, `exit: true` or `dwell: 10m`",
        ),
        (
            "order",
            "rate: {window: 5m, above: fast}",
            "r.yml:3:27: `fast` is no rate; write a number and a time, for example 10/1m",
        ),
        (
            "order",
            "change: {field: order.eta, within: 5m}",
            "r.yml:3:9: it is not clear how much of a change is meant; write `by:` (a number or a time), or `at_least:` (how often it changed)",
        ),
        (
            "order",
            "spike: {window: 10m, against: 7d, factor: 2}",
            "r.yml:3:31: not between one and 12 times `window`; compare with the time just before, for example `against: 1h`",
        ),
        (
            "rider",
            "when: 'true'\nmode: shadwo",
            "r.yml:4:7: `shadwo` is not known here; did you mean `shadow`?",
        ),
        (
            "rider",
            "when: 'true'\nbudget: {max_open: 0}",
            "r.yml:4:20: expected a whole number from 1 to 1000000, found `0`",
        ),
    ] {
        check_trigger(about, trigger, flaw);
    }
}

#[test]
fn an_issue_says_all_that_is_known_of_it() {
    check_city(
        "rule: a\nabout: rider\nwhen: rider.state == 'x'\nissue:\n  title: x\n  parent: ['zone/{{rider.id}}/short', other]\n  \
         at_least: {count: 3, within: 10m}\n  verify: 5m\n  runbook: docs/x.md\nmode: shadow\nbudget: {issues_per_order: 0.03, max_open: 9}\n\
         actions:\n  - do: message\n    with: {text: 'are you there, {{rider.id}}?', again: 3}\n    mode: auto\n    \
         guard: {per_entity: 1/30m, per_rule: 10/10m, cooldown: 1m, max_concurrent: 2, stop_after_failures: 3, only_if: rider.is_idle}\n",
        &[],
    );
    check_city(
        "rule: a\nabout: rider\nwhen: 'true'\nissue: {title: x, parent: '{{rider.idd}}', at_least: often}\n\
         actions: [{do: message, mode: atuo, guard: {per_entity: 3, only_if: rider.x}}]\n",
        &[
            "r.yml:4:30: entity `rider` has no field `idd`; did you mean `id`?",
            "r.yml:4:54: `often` is no rate; write a number and a time, for example 3/10m",
            "r.yml:5:31: `atuo` is not known here; did you mean `auto`?",
            "r.yml:5:57: `3` is no rate; write a number and a time, for example 3/10m",
            "r.yml:5:69: entity `rider` has no field `x`; declare it in `fields` of entity `rider`",
        ],
    );
}

#[test]
fn tests_are_checked_in_their_place() {
    let rule =
        |tests: &str| format!("rule: a\nabout: rider\nwhen: 'true'\nissue: {{title: x}}\ntests:\n{tests}");
    check_city(
        &rule(
            "  - at: {0s: 'ping(51.50, -0.10)', 6m: 'ping(30 m, 0 m)'}\n    expect: opened at 5m\n  \
             - name: all\n    given: {rider/r1: {state: x, links: {orders: [order/o1]}}}\n    \
             at: {5m: {rider/r1: gone, order/o1: failed, order/o2: orders.cancelled}}\n    expect: [opened at 0s, resolved at 5m]\n  \
             - {at: {}, expect: nothing}\n",
        ),
        &[],
    );
    check_city(
        &rule(
            "  - at: {0s: {ridr/r1: gone}, 1m: {rider/r1: {stat: x}}, 2m: pong, 3m: ping(a)}\n    expect: opens\n",
        ),
        &[
            "r.yml:6:15: there is no entity and no stream `ridr/r1`; did you mean `rider`?",
            "r.yml:6:47: entity `rider` has no field `stat`; did you mean `state`?",
            "r.yml:6:62: `pong` is nothing that can happen; write fields in braces, `gone`, `failed`, `ping(…)`, or the type of an event",
            "r.yml:6:72: `ping(a)` is no position; write ping(51.50, -0.10) for degrees, or ping(30 m, 0 m) for metres",
            "r.yml:7:13: `opens` is nothing to expect; write `opened at 5m`, `resolved at 1h`, a list of these, or `nothing`",
        ],
    );
}

#[test]
fn what_is_worked_out_reads_what_is_known_before_it() {
    check(
        "entity: a\nfrom: {topic: as}\nfields: {id: string}\nlinks: {b: b}\nderive: {x: a.y, y: b.z, id: '1'}\n---\n\
         entity: b\nfrom: {topic: bs}\nfields: {id: string}\nlinks: {a: a}\nderive: {z: a.id, w: b.qq}\n---\n\
         {entity: c, from: {field: a.zone}}\n---\n{entity: d, from: {field: nobody}}\n",
        &[
            "r.yml:5:26: the field `id` is declared already; derive it by another name",
            "r.yml:15:27: `nobody` is no field; write entity.field, for example order.zone",
            "r.yml:13:27: entity `a` has no field `zone`; declare it there",
            "r.yml:5:13: `x` reads `y`, which is not worked out yet; a derived field reads those that stand before it",
            "r.yml:5:21: `y` reads `b.z`, which reads other entities itself; read what that one reads",
            "r.yml:11:22: entity `b` has no field `qq`; declare it in `fields` of entity `b`",
        ],
    );
}
