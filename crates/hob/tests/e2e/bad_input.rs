//! Wrong files, taken ports, a data directory in use: each is named, with the way out, and changes nothing.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::platform::{HOB, free_offset};

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn hob(arguments: &[&str], folder: &Path) -> Output {
    Command::new(HOB)
        .args(arguments)
        .current_dir(folder)
        .env("HOB_DATA", folder.join("data"))
        .output()
        .unwrap()
}

fn check(output: &Output, exit: i32, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{told}");
    for word in words {
        assert!(told.contains(word), "{word} is missing in:\n{told}");
    }
    assert!(output.stdout.is_empty(), "errors belong on standard error");
}

const PLATFORM: &str = "platform: test\nenvironments: [qa]\ntenants: [uk]\nservices: ['*']\n";
const SERVICE: &str =
    "service: web\nkind: edge\npackage: {include: [run]}\nprocesses: {web: {run: [sh, run]}}\n";

#[test]
fn flaws_of_all_files_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hob.yml", PLATFORM);
    write(folder.path(), "a/service.yml", &SERVICE.replace("processes", "proceses"));
    write(folder.path(), "b/service.yml", &SERVICE.replace("kind: edge", "kind: egde"));
    let output = hob(&["up", "."], folder.path());
    check(
        &output,
        1,
        &[
            "a/service.yml:4:1: unknown key `proceses`; did you mean `processes`?",
            "b/service.yml:2:7: `egde` is not known here; did you mean `edge`?",
            "hint:",
        ],
    );
    assert!(
        !folder.path().join("data").try_exists().unwrap(),
        "nothing may be made for files that are wrong"
    );
}

#[test]
fn a_missing_platform_and_a_missing_hob_have_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    check(&hob(&["up"], folder.path()), 4, &["no hob.yml", "hint:"]);
    check(&hob(&["services"], folder.path()), 5, &["no token", "hob up"]);
    write(folder.path(), "data/admin.token", "x");
    let nobody = format!(
        "http://127.0.0.1:{}",
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    check(&hob(&["services", "--url", &nobody], folder.path()), 1, &["does not answer", "hint:"]);
    check(&hob(&["explain", "HOB-9999"], folder.path()), 4, &["no error HOB-9999"]);
    assert_eq!(hob(&["depoly"], folder.path()).status.code(), Some(2));
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hob.yml", PLATFORM);
    let offset = free_offset();
    let taken = TcpListener::bind(("127.0.0.1", 8080 + offset)).unwrap();
    let output = hob(&["up", ".", "--port-offset", &offset.to_string()], folder.path());
    check(&output, 6, &["HOB-0050", &(8080 + offset).to_string(), "--port-offset"]);
    drop(taken);
    // That start failed, so the directory is free to take another offset; one that was used is remembered.
    assert!(!folder.path().join("data/port-offset").try_exists().unwrap());
    write(folder.path(), "data/port-offset", &format!("{offset}\n"));
    let other = hob(&["up", ".", "--port-offset", &(offset + 1).to_string()], folder.path());
    check(&other, 6, &["port offset", "another data directory"]);
}

#[test]
fn errors_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let output = hob(&["explain", "50"], folder.path());
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.starts_with("# HOB-0050: A port is in use"), "{page}");
}
