//! Unpacking, tried with the same archives as the check on arrival.

#[path = "../../../hob-deploy/src/package/corpus.rs"]
pub(crate) mod corpus;

use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(crate) fn corpus() {
    for case in corpus::cases() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/package");
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let unpacked = hob_agent::unpack(&case.bytes, &folder);
        assert_eq!(unpacked.is_ok(), case.is_sound, "{}: {unpacked:?}", case.name);
        let beside = fs::read_dir(root.path().join("a/b")).unwrap().count()
            + fs::read_dir(root.path()).unwrap().count();
        assert!(beside <= 2, "{} wrote outside of its folder", case.name);
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("package");
    hob_agent::unpack(&corpus::cases()[0].bytes, &folder).unwrap();
    assert_eq!(fs::read_to_string(folder.join("here/o")).unwrap(), "#!/bin/sh\n");
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bin/orders"), mode("data/menu.json")), (0o755, 0o644));
    assert!(hob_agent::unpack(&corpus::cases()[0].bytes, &folder).is_err(), "the folder is there already");
}
