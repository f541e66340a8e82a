//! registries.conf, version 2 (containers-registries.conf(5)): which registries short names are
//! looked up on, and where a registry's images really are.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci::Reference;
use serde::Deserialize;

use crate::client::Endpoint;

/// Longest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The files to read.
#[derive(Clone, Debug, Default)]
pub struct RegistriesFiles {
    /// registries.conf: the first that exists is read.
    pub main: Vec<PathBuf>,
    /// Directories of `*.conf` drop-ins, read after it in the order of their names; a name in a
    /// later directory replaces the same name in an earlier one.
    pub drop_in_dirs: Vec<PathBuf>,
    /// short-name-aliases.conf, which other tools write when a user answered their question.
    pub aliases: Option<PathBuf>,
}

/// Settings for registries.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    search: Vec<String>,
    registries: Vec<Registry>,
    aliases: BTreeMap<String, String>,
    /// Where a short name may have come from, for errors.
    source: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default, rename = "mirror-by-digest-only")]
    mirror_by_digest_only: bool,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Mirror {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
struct File {
    #[serde(default, rename = "unqualified-search-registries")]
    search: Option<Vec<String>>,
    #[serde(default, rename = "registry")]
    registries: Vec<Registry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not what it should be.
    #[error("invalid registries configuration {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The administrator does not allow it.
    #[error("registry {prefix} is blocked in the registries configuration")]
    Blocked {
        /// The setting's prefix.
        prefix: String,
    },
    /// A location that makes no valid reference.
    #[error("the registries configuration leads {name} to an invalid place: {reason}")]
    Location {
        /// What was asked for.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A short name that leads nowhere.
    #[error(
        "short name {name:?} did not resolve to an alias and no unqualified-search registries are defined{}",
        .source_file.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default()
    )]
    ShortName {
        /// What was given.
        name: String,
        /// The configuration that has no registries.
        source_file: Option<PathBuf>,
    },
    /// Not a reference at all.
    #[error(transparent)]
    Reference(#[from] oci::reference::InvalidReference),
}

impl Registries {
    /// Reads `files`; those that do not exist are skipped.
    pub fn from_files(files: &RegistriesFiles) -> Result<Registries, RegistriesError> {
        let mut registries = Registries::default();
        for path in &files.main {
            if let Some(file) = read(path)? {
                registries.source = Some(path.clone());
                registries.merge(file, path)?;
                break;
            }
        }
        let mut drop_ins = BTreeMap::new();
        for dir in &files.drop_in_dirs {
            let Ok(entries) = std::fs::read_dir(dir) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.extension().is_some_and(|e| e == "conf")
                    && let Some(name) = path.file_name()
                {
                    drop_ins.insert(name.to_owned(), path);
                }
            }
        }
        for path in drop_ins.values() {
            if let Some(file) = read(path)? {
                registries.merge(file, path)?;
            }
        }
        if let Some(path) = &files.aliases
            && let Some(file) = read(path)?
        {
            registries.aliases.extend(file.aliases);
        }
        Ok(registries)
    }

    fn merge(&mut self, file: File, path: &Path) -> Result<(), RegistriesError> {
        let invalid = |reason: String| RegistriesError::Invalid { path: path.to_owned(), reason };
        if let Some(search) = file.search {
            self.search = search;
            self.source = Some(path.to_owned());
        }
        for mut registry in file.registries {
            if registry.prefix.is_empty() {
                registry.prefix = registry.location.clone();
            }
            if registry.prefix.is_empty() {
                return Err(invalid("a [[registry]] has neither prefix nor location".into()));
            }
            registry.prefix = registry.prefix.trim_end_matches('/').to_owned();
            registry.location = registry.location.trim_end_matches('/').to_owned();
            if registry.mirrors.iter().any(|mirror| mirror.location.is_empty()) {
                return Err(invalid(format!("a mirror of {} has no location", registry.prefix)));
            }
            match self.registries.iter_mut().find(|known| known.prefix == registry.prefix) {
                Some(known) => *known = registry,
                None => self.registries.push(registry),
            }
        }
        self.aliases.extend(file.aliases);
        Ok(())
    }

    /// The references that `text` may mean, in order: itself if it names its registry, else its
    /// alias, else one for each registry that is searched. Tags and digests are kept.
    pub fn candidates(&self, text: &str) -> Result<Vec<Reference>, RegistriesError> {
        if Reference::has_domain(text) {
            return Ok(vec![Reference::parse_normalized(text)?]);
        }
        // Also says what is wrong with a text that is no reference.
        Reference::parse_normalized(text)?;
        let name_end = text.find('@').map_or(text, |at| text.get(..at).unwrap_or(text));
        let name = match name_end.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name_end,
        };
        let suffix = text.get(name.len()..).unwrap_or_default();
        if let Some(target) = self.aliases.get(name).filter(|target| !target.is_empty()) {
            return Ok(vec![Reference::parse_qualified(&format!("{target}{suffix}"))?]);
        }
        if self.search.is_empty() {
            return Err(RegistriesError::ShortName { name: text.to_owned(), source_file: self.source.clone() });
        }
        self.search.iter().map(|registry| Ok(Reference::parse_normalized(&format!("{registry}/{text}"))?)).collect()
    }

    /// Where `reference` can be pulled from, in order: mirrors, then the registry itself.
    pub fn pull_endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistriesError> {
        let Some((registry, matched)) = self.find(reference) else {
            return Ok(vec![Endpoint { reference: reference.clone(), insecure: false }]);
        };
        if registry.blocked {
            return Err(RegistriesError::Blocked { prefix: registry.prefix.clone() });
        }
        let by_digest = reference.digest().is_some();
        let mut endpoints = Vec::new();
        for mirror in &registry.mirrors {
            let wanted = match mirror.pull_from_mirror.as_str() {
                "digest-only" => by_digest,
                "tag-only" => !by_digest,
                _ => by_digest || !registry.mirror_by_digest_only,
            };
            if wanted {
                endpoints.push(Endpoint {
                    reference: moved(reference, &matched, &mirror.location)?,
                    insecure: mirror.insecure,
                });
            }
        }
        let location = if registry.location.is_empty() { matched.clone() } else { registry.location.clone() };
        endpoints.push(Endpoint { reference: moved(reference, &matched, &location)?, insecure: registry.insecure });
        Ok(endpoints)
    }

    /// Where `reference` is pushed to: always its own name.
    pub fn push_endpoint(&self, reference: &Reference) -> Result<Endpoint, RegistriesError> {
        match self.find(reference) {
            Some((registry, _)) if registry.blocked => {
                Err(RegistriesError::Blocked { prefix: registry.prefix.clone() })
            }
            found => Ok(Endpoint {
                reference: reference.clone(),
                insecure: found.is_some_and(|(registry, _)| registry.insecure),
            }),
        }
    }

    /// The entry with the longest prefix of `reference`'s name, and what it matched.
    fn find(&self, reference: &Reference) -> Option<(&Registry, String)> {
        let name = reference.name();
        self.registries
            .iter()
            .filter_map(|registry| Some((registry, matched(&registry.prefix, &name, reference.domain())?)))
            .max_by_key(|(_, matched)| matched.len())
    }
}

/// How much of `name` the prefix covers; `*.example.com` stands for any host below it.
fn matched(prefix: &str, name: &str, domain: &str) -> Option<String> {
    if let Some(suffix) = prefix.strip_prefix("*.") {
        let (host, path) = suffix.split_once('/').map_or((suffix, None), |(host, path)| (host, Some(path)));
        let below = domain.strip_suffix(host).is_some_and(|head| head.len() > 1 && head.ends_with('.'));
        if !below {
            return None;
        }
        let full = path.map_or_else(|| domain.to_owned(), |path| format!("{domain}/{path}"));
        return covers(&full, name).then_some(full);
    }
    covers(prefix, name).then(|| prefix.to_owned())
}

fn covers(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

/// `reference` with `prefix` replaced by `location`.
fn moved(reference: &Reference, prefix: &str, location: &str) -> Result<Reference, RegistriesError> {
    let name = reference.name();
    if prefix == location {
        return Ok(reference.clone());
    }
    let rest = name.strip_prefix(prefix).unwrap_or_default();
    let tail = reference.to_string().get(name.len()..).unwrap_or_default().to_owned();
    Reference::parse_qualified(&format!("{}{rest}{tail}", location.trim_end_matches('/')))
        .map_err(|error| RegistriesError::Location { name: reference.to_string(), reason: error.to_string() })
}

fn read(path: &Path) -> Result<Option<File>, RegistriesError> {
    let failed = |reason: String| RegistriesError::Read { path: path.to_owned(), reason };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(crate::error::root_cause(&error))),
    };
    if !metadata.is_file() && path != Path::new("/dev/null") {
        return Err(failed("it is not a regular file".into()));
    }
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        .map_err(|error| failed(crate::error::root_cause(&error)))?;
    let value: toml::Table = toml::from_str(&text).map_err(|error: toml::de::Error| RegistriesError::Invalid {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    })?;
    if value.contains_key("registries") {
        return Err(RegistriesError::Invalid {
            path: path.to_owned(),
            reason: "it is of version 1, which is not supported".into(),
        });
    }
    File::deserialize(value)
        .map(Some)
        .map_err(|error| RegistriesError::Invalid { path: path.to_owned(), reason: error.message().to_owned() })
}
