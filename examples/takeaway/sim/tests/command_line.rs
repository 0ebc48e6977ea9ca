//! The simulator as it is called: what it prints, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::process::{Command, Output};

use serde_json::Value;
use takeaway_world::{Day, GenerateOptions};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_takeaway-sim")).args(arguments).output().unwrap()
}

/// A small day on disk.
fn day(folder: &std::path::Path) -> String {
    let files = Day::generate(2, GenerateOptions { orders: 60, restaurants: 8, riders: 12 }).to_files();
    let texts = [
        ("orders.txt", &files.orders),
        ("couriers.txt", &files.couriers),
        ("restaurants.txt", &files.restaurants),
        ("instance_parameters.txt", &files.parameters),
    ];
    for (name, text) in texts {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn rules() -> String {
    format!("{}/../rules", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn figures_are_json_or_a_table_and_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let day = day(folder.path());
    let arguments =
        ["--day", &day, "--seed", "1-2", "--fault-scale", "3", "--mode", "live", "--rules", &rules()];
    let json = simulate(&[&arguments[..], &["--json"]].concat());
    assert!(json.status.success(), "{}", String::from_utf8_lossy(&json.stderr));
    assert_eq!(json.stdout, simulate(&[&arguments[..], &["--json"]].concat()).stdout);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["orders"], 120);
    assert!(report["investigations_per_order"].is_f64());
    assert!((0.0..=1.0).contains(&report["unacceptable"].as_f64().unwrap()));
    let rules = report["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["precision"].is_f64() && rule["rule"].is_string()), "{rules:?}");
    let table = simulate(&arguments);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("unacceptable") && table.contains("precision"), "{table}");
}

#[test]
fn what_is_wrong_is_said_with_the_exit_code_of_its_kind() {
    let check = |arguments: &[&str], exit: i32, words: &str| {
        let output = simulate(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {told}");
        assert!(told.contains(words), "{told}");
        assert!(output.stdout.is_empty());
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    check(&["--mode", "dance"], 2, "possible values");
    check(&["--seed", "x"], 2, "1-20");
    check(&["--fault-scale", "1000"], 2, "from 0 to 100");
    check(&["--operators", "0"], 2, "from 1 to");
    check(&["--day", "/nowhere/at/all"], 4, "there is no day");
    check(&["--day", path], 1, "a day is a folder with");
    check(&["--mode", "live", "--rules", "/nowhere/at/all"], 4, "--rules");
    check(&["--mode", "live", "--rules", path], 4, "no rule file");
    let day = day(folder.path());
    std::fs::write(folder.path().join("orders.txt"), "order\tx\no1\tnoon\n").unwrap();
    check(&["--day", &day], 1, "orders.txt, line 1");
    std::fs::write(folder.path().join("bad.yml"), "rule: x\nabout: ordr\n").unwrap();
    check(&["--mode", "live", "--rules", path], 1, "bad.yml:");
}
