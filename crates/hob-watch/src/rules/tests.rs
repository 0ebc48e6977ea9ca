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
            "r.yml:1:1: the rule does not say when; write one of `when`, `deadline`, `stopped`",
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
        "rule: a\nabout: order\nabsent: {event: x, within: 90s}\nwhen: 'true'\nissue: {title: x, parent: []}\n",
        &[
            "r.yml:3:1: `absent` is not supported yet; leave it out",
            "r.yml:5:19: `parent` is not supported yet; leave it out",
        ],
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
    assert_eq!(rules.map(|rules| rules.rules.len()), Ok(5));
}
