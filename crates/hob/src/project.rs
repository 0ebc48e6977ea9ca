//! A platform's files on disk: `hob.yml`, the descriptors and the rules that it names. Read whole or not at all.

mod build;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hob_core::{Name, Scope};
use hob_watch::Watch;
use hob_wire::{Declarations, FileText, Flaw, Platform, Service};

pub(crate) use build::{build, pack};

use crate::failure::{Exit, Failure};

const PLATFORM_FILE: &str = "hob.yml";
const SERVICE_FILE: &str = "service.yml";

/// A platform read from its folder.
pub(crate) struct Project {
    pub(crate) declarations: Declarations,
    /// The folder of each service.
    pub(crate) folders: BTreeMap<Name, PathBuf>,
}

/// A service's folder, its descriptor and the descriptor's text.
pub(crate) struct ServiceFolder {
    pub(crate) folder: PathBuf,
    pub(crate) service: Service,
    pub(crate) text: String,
}

impl Project {
    /// Reads the platform in `dir`, or in the nearest folder upwards that has a `hob.yml`.
    pub(crate) fn read(dir: Option<&Path>) -> Result<Self, Failure> {
        let root = match dir {
            Some(dir) => dir.to_owned(),
            None => find_upwards(PLATFORM_FILE)?.ok_or_else(|| {
                Failure::with(Exit::NotFound, "there is no hob.yml here or in any folder above")
                    .hint("go to the platform's folder, or name it: hob up DIR")
            })?,
        };
        let file = root.join(PLATFORM_FILE);
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::with(Exit::NotFound, format!("failed to read {}: {error}", file.display()))
        })?;
        let platform = Platform::read(PLATFORM_FILE, &text).map_err(|flaws| Failure::flaws(&flaws))?;
        let mut flaws = Vec::new();
        let mut project = Self {
            declarations: Declarations { platform, services: BTreeMap::new(), rules: Vec::new() },
            folders: BTreeMap::new(),
        };
        project.read_services(&root, &mut flaws)?;
        project.read_rules(&root, &mut flaws)?;
        if flaws.is_empty() { Ok(project) } else { Err(Failure::flaws(&flaws)) }
    }

    fn read_services(&mut self, root: &Path, flaws: &mut Vec<Flaw>) -> Result<(), Failure> {
        for path in matches(root, &self.declarations.platform.services)? {
            let file = if path.is_dir() { path.join(SERVICE_FILE) } else { path };
            // A glob such as `*` also matches folders that are no services, and other files.
            if !file.is_file() || file.file_name().is_none_or(|name| name != SERVICE_FILE) {
                continue;
            }
            let read = read_service(&file, &below(root, &file))?;
            match read {
                Ok(read) => {
                    let name = read.service.service.clone();
                    if let Some(first) = self.folders.get(&name) {
                        let what = format!("the service `{name}` is declared in {} too", below(root, first));
                        flaws.push(Flaw {
                            file: below(root, &file),
                            line: 1,
                            column: 1,
                            what,
                            hint: Some("rename one of them".to_owned()),
                        });
                    }
                    self.folders.insert(name.clone(), read.folder);
                    self.declarations.services.insert(name, read.service);
                }
                Err(found) => flaws.extend(found),
            }
        }
        Ok(())
    }

    fn read_rules(&mut self, root: &Path, flaws: &mut Vec<Flaw>) -> Result<(), Failure> {
        for path in matches(root, &self.declarations.platform.rules)? {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            self.declarations.rules.push(FileText { file: below(root, &path), text });
        }
        if let Err(found) = Watch::check(&self.declarations.rules) {
            flaws.extend(found);
        }
        Ok(())
    }

    /// A service of this platform with its folder.
    pub(crate) fn service(&self, name: &Name) -> Result<ServiceFolder, Failure> {
        let folder = self.folders.get(name).ok_or_else(|| {
            let known = self.folders.keys().map(Name::as_str);
            let near = hob_core::nearest(name.as_str(), known).map(|near| format!("; did you mean {near}?"));
            Failure::with(
                Exit::NotFound,
                format!("hob.yml names no service {name}{}", near.unwrap_or_default()),
            )
        })?;
        let file = folder.join(SERVICE_FILE);
        read_service(&file, &file.display().to_string())?.map_err(|flaws| Failure::flaws(&flaws))
    }
}

impl Project {
    /// A service's descriptor as it is in a scope.
    pub(crate) fn in_scope(&self, name: &Name, scope: &Scope) -> Result<Service, Failure> {
        let folder = self.service(name)?;
        let told = folder.folder.join(SERVICE_FILE).display().to_string();
        Service::read_in(&told, &folder.text, scope).map_err(|flaws| Failure::flaws(&flaws))
    }
}

/// The service `name`: of the `service.yml` found upwards from here, else of the platform found upwards.
pub(crate) fn find_service(name: &Name) -> Result<ServiceFolder, Failure> {
    if let Some(folder) = find_upwards(SERVICE_FILE)? {
        let file = folder.join(SERVICE_FILE);
        let found =
            read_service(&file, &file.display().to_string())?.map_err(|flaws| Failure::flaws(&flaws))?;
        if found.service.service == *name {
            return Ok(found);
        }
    }
    Project::read(None)?.service(name)
}

fn read_service(file: &Path, told: &str) -> Result<Result<ServiceFolder, Vec<Flaw>>, Failure> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(Service::read(told, &text).map(|service| ServiceFolder { folder, service, text }))
}

fn find_upwards(file: &str) -> Result<Option<PathBuf>, Failure> {
    let here = std::env::current_dir().context("find the present folder")?;
    Ok(here.ancestors().find(|folder| folder.join(file).is_file()).map(Path::to_owned))
}

/// Paths that globs match, in order, each once.
fn matches(root: &Path, globs: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for pattern in globs {
        if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
            return Err(Failure::new(format!("hob.yml: `{pattern}` leaves the platform's folder"))
                .hint("name paths below the folder of hob.yml"));
        }
        let whole = root.join(pattern);
        let found = glob::glob(&whole.to_string_lossy())
            .map_err(|error| Failure::new(format!("hob.yml: the glob `{pattern}` is wrong: {error}")))?;
        for path in found {
            let path = path.map_err(|error| Failure::new(error.to_string()))?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
