//! Packing and checking: the same files give the same bytes, and nothing unsound passes.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hob_wire::Service;
use proptest::prelude::*;

use super::corpus::cases;
use super::{PackageError, check, pack};

fn descriptor(include: &[&str]) -> (Service, String) {
    let text = format!(
        "service: orders\nkind: domain\npackage: {{include: {}}}\nprocesses: {{web: {{run: [bin/orders]}}}}\n",
        serde_json::to_string(include).unwrap()
    );
    (Service::read("service.yml", &text).unwrap(), text)
}

fn refused(folder: &Path, include: &str) -> String {
    let (mut service, text) = descriptor(&["bin"]);
    service.package.include = vec![include.to_owned()];
    match pack(folder, &service, &text, None) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{include:?} must be refused"),
    }
}

#[test]
fn what_is_packed_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("bin/deep")).unwrap();
    fs::write(folder.path().join("bin/orders"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.path().join("bin/orders"), fs::Permissions::from_mode(0o711)).unwrap();
    symlink("../orders", folder.path().join("bin/deep/link")).unwrap();
    let (service, text) = descriptor(&["./bin"]);
    let packed = pack(folder.path(), &service, &text, Some("abc")).unwrap();
    let manifest = check(&packed.bytes).unwrap();
    assert_eq!(manifest, packed.manifest);
    assert_eq!(manifest.git.as_deref(), Some("abc"));
    assert!(manifest.files["bin/orders"].executable);
    assert_eq!(manifest.files["bin/deep/link"].link.as_deref(), Some("../orders"));
}

#[test]
fn what_could_reach_out_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/setuid"), "").unwrap();
    fs::set_permissions(root.join("bin/setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("/etc", root.join("outside")).unwrap();
    symlink("bin", root.join("inside")).unwrap();
    make_socket(&root.join("socket"));
    assert!(refused(root, "/etc/passwd").contains("name it relative to service.yml"));
    assert!(refused(root, "../other").contains("have `build` copy"));
    assert!(refused(root, "bin/missing").contains("there is no such file"));
    assert!(refused(root, "bin").contains("take it away with chmod"));
    assert!(refused(root, "outside").contains("link to something within it"));
    assert!(refused(root, "inside/setuid").contains("include the real folder"));
    assert!(refused(root, "inside").contains("include it too"));
    assert!(refused(root, "socket").contains("only files, folders and links"));
}

/// A socket is the kind of special file that a test can make without a system call of its own.
fn make_socket(place: &Path) {
    std::os::unix::net::UnixListener::bind(place).unwrap();
}

#[test]
fn the_corpus_is_judged_as_it_says() {
    for case in cases() {
        let judged = check(&case.bytes);
        assert_eq!(judged.is_ok(), case.is_sound, "{}: {judged:?}", case.name);
        if let Err(error) = judged {
            assert!(matches!(error, PackageError::Wrong(_)), "{}: {error}", case.name);
        }
    }
}

fn write_all(root: &Path, files: &[(String, Vec<u8>)], seconds: u64) {
    for (path, bytes) in files {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, bytes).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(&place).unwrap().set_modified(time).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_files_give_the_same_digest(
        files in proptest::collection::btree_map("[a-c]/[a-z]{1,8}\\.x", proptest::collection::vec(any::<u8>(), 0..200), 1..12),
        time in 0_u64..2_000_000_000,
    ) {
        let mut files: Vec<(String, Vec<u8>)> = files.into_iter().collect();
        let (service, text) = descriptor(&["."]);
        let digest = |files: &[(String, Vec<u8>)], seconds| {
            let folder = tempfile::tempdir().unwrap();
            write_all(folder.path(), files, seconds);
            pack(folder.path(), &service, &text, None).unwrap().digest
        };
        let first = digest(&files, time);
        files.reverse();
        prop_assert_eq!(first, digest(&files, 1));
        files[0].1.push(0);
        prop_assert_ne!(first, digest(&files, time));
    }

    #[test]
    fn any_bytes_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(check(&bytes).is_err());
        // The same as the content of a frame, so that the archive's reader is reached.
        prop_assert!(check(&zstd::encode_all(bytes.as_slice(), 1).unwrap()).is_err());
    }

    #[test]
    fn a_sound_package_with_a_changed_byte_is_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut tar = zstd::decode_all(cases()[0].bytes.as_slice()).unwrap();
        let index = at.index(tar.len());
        prop_assume!(tar[index] != to);
        tar[index] = to;
        // Bytes that nobody reads, such as a group's name in a header, may differ; nothing may panic.
        let _ = check(&zstd::encode_all(tar.as_slice(), 1).unwrap());
    }
}
