//! Which folders a program sees instead of the node's: worked out before anything is mounted. Pure but for modes.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Folders to cover with an empty one, each with the paths below it that stay.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Covers(pub(super) Vec<(PathBuf, Vec<PathBuf>)>);

/// `covered` folders are emptied but for `kept` paths; a cover below another is part of that.
pub(super) fn covers(covered: impl IntoIterator<Item = PathBuf>, kept: &[PathBuf]) -> Covers {
    let all: BTreeSet<PathBuf> = covered.into_iter().collect();
    let is_below_another = |path: &PathBuf| all.iter().any(|other| other != path && path.starts_with(other));
    let outer = all.iter().filter(|path| !is_below_another(path));
    let keep = |cover: &Path| -> Vec<PathBuf> {
        let below: BTreeSet<&PathBuf> =
            kept.iter().filter(|path| path.starts_with(cover) && *path != cover).collect();
        let is_inner = |path: &&PathBuf| below.iter().any(|other| *other != *path && path.starts_with(other));
        // What lies in a kept folder comes with it.
        below.iter().copied().filter(|path| !is_inner(path)).cloned().collect()
    };
    Covers(outer.map(|cover| (cover.clone(), keep(cover))).collect())
}

/// The outermost folder above a path that other users may not pass through.
pub(super) fn closed_above(path: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let is_closed = |folder: &&Path| std::fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 == 0);
    above.into_iter().find(is_closed).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_keep_what_is_needed_and_the_outer_one_counts() {
        let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
        let kept = paths(&["/tmp/a/data", "/tmp/a/data/x", "/tmp/b", "/home/me/app", "/srv"]);
        let covers = covers(paths(&["/tmp", "/tmp/a", "/home"]), &kept);
        let home = (PathBuf::from("/home"), paths(&["/home/me/app"]));
        assert_eq!(covers.0, [home, (PathBuf::from("/tmp"), paths(&["/tmp/a/data", "/tmp/b"]))]);
    }

    #[test]
    fn a_closed_folder_is_found_from_above() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
        let (outer, inner) = (root.path().join("outer"), root.path().join("outer/inner"));
        std::fs::create_dir_all(&inner).unwrap();
        open(root.path(), 0o755).unwrap();
        open(&outer, 0o755).unwrap();
        assert_eq!(closed_above(&inner.join("file")), None);
        open(&inner, 0o700).unwrap();
        assert_eq!(closed_above(&inner.join("file")), Some(inner.clone()));
        open(&outer, 0o700).unwrap();
        assert_eq!(closed_above(&inner.join("file")), Some(outer));
    }
}
