//! What a package says of itself: `hob.json`, the first member of the archive.

use std::collections::BTreeMap;

use hob_core::{Digest, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `hob.json`. A package is a zstd-compressed tar archive: this file, `service.yml`, and the files under `files/`.
/// The same files give the same bytes, so nothing here says when or where it was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of this layout.
    pub format: u32,
    /// The service.
    pub name: Name,
    /// The git revision that it was built from, when it was built in a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Every file by its path below `files/`.
    pub files: BTreeMap<String, PackagedFile>,
    /// The descriptor's text.
    pub descriptor: String,
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackagedFile {
    /// Digest of its bytes; of the target's text for a link.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
    /// Where it points, when it is a symbolic link that stays within the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Bytes of a path below `files/`: what a plain tar header can hold.
pub const PACKAGE_PATH_BYTES_MAX: usize = 150;
/// Bytes of a symbolic link's target.
pub const PACKAGE_LINK_BYTES_MAX: usize = 100;
/// Files of a package.
pub const PACKAGE_FILES_MAX: usize = 50_000;
/// Bytes of a package's files, unpacked.
pub const PACKAGE_UNPACKED_BYTES_MAX: u64 = 1 << 30;
/// Bytes of `hob.json`.
pub const PACKAGE_MANIFEST_BYTES_MAX: u64 = 16 << 20;

impl Manifest {
    /// The present version of the layout.
    pub const FORMAT: u32 = 1;

    /// Says what is wrong: another format, a path or a link that leaves the package, a path that is also a folder, or
    /// something over its limit. Whoever writes files by a manifest checks it first.
    pub fn check(&self) -> Result<(), String> {
        if self.format != Self::FORMAT {
            return Err(format!("hob.json has format {}, this Hob reads {}", self.format, Self::FORMAT));
        }
        if self.files.len() > PACKAGE_FILES_MAX {
            return Err(format!("{} files are over the limit of {PACKAGE_FILES_MAX}", self.files.len()));
        }
        let size = self.files.values().try_fold(0_u64, |sum, file| sum.checked_add(file.size));
        if size.is_none_or(|size| size > PACKAGE_UNPACKED_BYTES_MAX) {
            return Err(format!("the files are over the limit of {PACKAGE_UNPACKED_BYTES_MAX} bytes"));
        }
        for (path, file) in &self.files {
            check_path(path)?;
            if let Some(inner) = parents(path).find(|parent| self.files.contains_key(*parent)) {
                return Err(format!("{path:?} lies in {inner:?}, which is a file or a link"));
            }
            if let Some(link) = &file.link {
                self.check_link(path, link, file)?;
            }
        }
        Ok(())
    }

    fn check_link(&self, path: &str, link: &str, file: &PackagedFile) -> Result<(), String> {
        let aim = resolve_link(path, link).ok_or_else(|| {
            format!("link {path:?} leads to {link:?}, out of the package; link to something within it")
        })?;
        let folder = format!("{aim}/");
        let is_folder = aim.is_empty()
            || self.files.range(folder.clone()..).next().is_some_and(|(p, _)| p.starts_with(&folder));
        if !is_folder && !self.files.contains_key(&aim) {
            return Err(format!(
                "link {path:?} leads to {link:?}, which is not in the package; include it too"
            ));
        }
        if file.size != 0 || file.executable || file.digest != Digest::of(link.as_bytes()) {
            return Err(format!("link {path:?} has a size, a mode or a digest that is not its own"));
        }
        Ok(())
    }
}

/// Refuses paths that could leave their folder, or that a plain tar header cannot hold.
fn check_path(path: &str) -> Result<(), String> {
    let is_sound = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 100;
    if path.len() > PACKAGE_PATH_BYTES_MAX || !path.split('/').all(is_sound) || path.contains('\0') {
        let path: String = path.chars().take(200).collect();
        return Err(format!(
            "path {path:?} is not allowed: it must be relative, without . and .., at most {PACKAGE_PATH_BYTES_MAX} bytes with parts of at most 100"
        ));
    }
    Ok(())
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// Where a link at `path` leads within the package; none when that is outside.
fn resolve_link(path: &str, link: &str) -> Option<String> {
    if link.is_empty() || link.starts_with('/') || link.len() > PACKAGE_LINK_BYTES_MAX || link.contains('\0')
    {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, Option<&str>)]) -> Result<(), String> {
        let file = |link: Option<&str>| PackagedFile {
            digest: Digest::of(link.unwrap_or_default().as_bytes()),
            size: 0,
            executable: false,
            link: link.map(str::to_owned),
        };
        let files = files.iter().map(|(path, link)| ((*path).to_owned(), file(*link))).collect();
        let manifest = Manifest {
            format: Manifest::FORMAT,
            name: "orders".parse().unwrap(),
            git: None,
            files,
            descriptor: String::new(),
        };
        manifest.check()
    }

    #[test]
    fn what_stays_within_is_allowed() {
        assert_eq!(
            check(&[("bin/orders", None), ("bin/o", Some("orders")), ("lib/x", Some("../bin"))]),
            Ok(())
        );
    }

    #[test]
    fn what_leaves_is_refused() {
        for path in [
            "",
            "/etc/passwd",
            "a//b",
            "../a",
            "a/../../b",
            "a/.",
            "a\0b",
            &"a/".repeat(100),
            &"a".repeat(101),
        ] {
            assert!(check(&[(path, None)]).is_err(), "{path:?}");
        }
        for link in ["", "/etc/passwd", "../../etc", "nowhere", "../../pkg/a"] {
            assert!(check(&[("dir/a", Some(link))]).is_err(), "{link:?}");
        }
        let through = check(&[("a", Some("b")), ("a/x", None), ("b/y", None)]).unwrap_err();
        assert!(through.contains("which is a file or a link"), "{through}");
    }
}
