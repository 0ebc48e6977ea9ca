//! Days played in every mode: the same twice, better with people than without, and with the figures of published models.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::PathBuf;
use std::sync::Arc;

use hob_watch::Rules;
use hob_wire::FileText;
use takeaway_sim::{Mode, Report, Runs, Setting, run_all};
use takeaway_world::{Day, GenerateOptions};

fn small_day() -> (String, Day) {
    let options = GenerateOptions { orders: 220, restaurants: 20, riders: 26 };
    ("small".to_owned(), Day::generate(4, options))
}

/// The takeaway's own rules.
fn rules() -> Arc<Rules> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rules");
    let mut files: Vec<FileText> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| FileText {
            text: std::fs::read_to_string(&path).unwrap(),
            file: path.file_name().unwrap().to_string_lossy().into_owned(),
        })
        .collect();
    files.sort_by(|a, b| a.file.cmp(&b.file));
    Arc::new(hob_watch::compile(&files).unwrap_or_else(|flaws| panic!("{flaws:?}")))
}

fn play(days: Vec<(String, Day)>, seeds: &[u64], fault_scale: f64, mode: Mode) -> Report {
    let setting = Setting { seed: 0, fault_scale, mode, operators: None, is_scored: true };
    let runs = Runs { days, seeds: seeds.to_vec(), setting };
    Report::of(&run_all(&runs, || ()).expect("the world's changes fit its entities"))
}

#[test]
fn whoever_looks_mends_and_issues_ask_for_fewer_looks() {
    let none = play(vec![small_day()], &[1, 2, 3], 3.0, Mode::None);
    let scan = play(vec![small_day()], &[1, 2, 3], 3.0, Mode::Scan);
    let live = play(vec![small_day()], &[1, 2, 3], 3.0, Mode::Live(rules()));
    assert_eq!((none.orders, none.investigations, none.rules.len()), (660, 0, 0));
    assert!(scan.unacceptable < none.unacceptable, "{scan:?}");
    assert!(live.unacceptable < none.unacceptable, "{live:?}");
    assert!(live.investigations * 4 < scan.investigations, "{} {}", live.investigations, scan.investigations);
    let rule = |name: &str| live.rules.iter().find(|score| score.rule == name).unwrap();
    let called = rule("restaurant-not-accepting");
    assert!(called.flagged > 0 && called.fruitful_investigations > 0, "{called:?}");
    assert!(called.latency_minutes.is_some_and(|latency| latency.p50 < 5.0), "{called:?}");
    assert!(rule("rider-stopped").precision <= 1.0);
}

#[test]
fn the_same_is_played_twice() {
    let play = || serde_json::to_string(&play(vec![small_day()], &[7], 2.0, Mode::Live(rules()))).unwrap();
    assert_eq!(play(), play());
}

#[test]
fn without_faults_rules_are_nearly_silent() {
    let live = play(vec![small_day()], &[5], 0.0, Mode::Live(rules()));
    assert!(live.investigations <= 4, "{live:?}");
    assert_eq!(live.fruitful_investigations, 0);
}
