//! Signature policies (containers-policy.json(5)): which places images may come from.
//!
//! Whether an image is signed cannot be checked yet, so an image that must be is refused. Images of
//! a store were let in before.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::transport::Location;

/// Longest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A policy as it is written down.
#[derive(Debug)]
pub struct Policy {
    path: PathBuf,
    file: File,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Requirements,
    #[serde(default)]
    transports: Unique<Unique<Requirements>>,
}

/// All of them must be met.
#[derive(Debug)]
struct Requirements(Vec<Requirement>);

#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    AcceptAnything,
    Reject,
    /// A signature of this kind.
    Signature(&'static str),
}

/// The registries that may be read from and written to, as the variable BUILD_REGISTRY_SOURCES of
/// build systems says.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistrySources {
    blocked_registries: Vec<String>,
    allowed_registries: Vec<String>,
    insecure_registries: Vec<String>,
}

impl RegistrySources {
    /// Whether the registry `host` need not prove who it is.
    pub fn is_insecure(&self, host: &str) -> bool {
        self.insecure_registries.iter().any(|item| item == host)
    }

    /// Whether the registry of `location` may be used.
    pub fn check(&self, location: &Location) -> Result<(), PolicyError> {
        let Location::Docker(reference) = location else { return Ok(()) };
        let host = reference.domain();
        let lists = |list: &[String]| list.iter().any(|item| item == host);
        let reason = match () {
            () if lists(&self.blocked_registries) => "it is in the blocked registries list",
            () if !self.allowed_registries.is_empty() && !lists(&self.allowed_registries) => {
                "not in allowed registries list"
            }
            () => return Ok(()),
        };
        Err(PolicyError::Registry { host: host.to_owned(), reason })
    }
}

/// A policy that cannot be used, or that does not let an image in.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the signature policy {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not what it should be.
    #[error("invalid signature policy {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No image may come from there.
    #[error("Source image rejected: Running image {image} is rejected by policy {path}")]
    Rejected {
        /// Where the image is.
        image: String,
        /// The file.
        path: PathBuf,
    },
    /// The registry may not be used.
    #[error("registry {host:?} denied by policy: {reason} (BUILD_REGISTRY_SOURCES)")]
    Registry {
        /// The registry.
        host: String,
        /// Why not.
        reason: &'static str,
    },
    /// Only what is signed may come from there.
    #[error(
        "image {image} must be signed ({kind}) by the signature policy {path}, and signatures cannot be checked yet"
    )]
    Unchecked {
        /// Where the image is.
        image: String,
        /// The kind of signature.
        kind: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl Policy {
    /// Reads the policy in the file `path`.
    pub fn read(path: &Path) -> Result<Policy, PolicyError> {
        let failed = |error: std::io::Error| PolicyError::Read { path: path.to_owned(), reason: error.to_string() };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(failed(std::io::Error::other("the file is too large")));
        }
        Policy::parse(path, &bytes)
    }

    /// Parses a policy; `path` is what errors call it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Policy, PolicyError> {
        let invalid =
            |error: serde_json::Error| PolicyError::Invalid { path: path.to_owned(), reason: error.to_string() };
        Ok(Policy { path: path.to_owned(), file: serde_json::from_slice(bytes).map_err(invalid)? })
    }

    /// Whether the image at `location` may be used: the most specific scope that names it decides.
    pub fn check(&self, location: &Location) -> Result<(), PolicyError> {
        let (transport, scopes) = scopes(location);
        let of_transport = self.file.transports.0.get(transport);
        let requirements = of_transport
            .and_then(|given| scopes.iter().find_map(|scope| given.0.get(scope)))
            .unwrap_or(&self.file.default);
        let failed = requirements.0.iter().find(|requirement| **requirement != Requirement::AcceptAnything);
        let (image, path) = (location.to_string(), self.path.clone());
        match failed {
            _ if transport == STORAGE => Ok(()),
            None | Some(Requirement::AcceptAnything) => Ok(()),
            Some(Requirement::Reject) => Err(PolicyError::Rejected { image, path }),
            Some(Requirement::Signature(kind)) => Err(PolicyError::Unchecked { image, kind, path }),
        }
    }
}

const STORAGE: &str = "containers-storage";

/// The transport of `location`, and the names by which a policy may mean it, the narrowest first.
fn scopes(location: &Location) -> (&'static str, Vec<String>) {
    let (transport, mut scopes) = match location {
        Location::Docker(reference) => ("docker", of_registry(&reference.to_string(), &reference.name())),
        Location::OciLayout { path, .. } => ("oci", of_path(path)),
        Location::OciArchive { path, .. } => ("oci-archive", of_path(path)),
        Location::DockerArchive { .. } => ("docker-archive", Vec::new()),
        Location::Dir { path } => ("dir", of_path(path)),
        Location::Storage { .. } => (STORAGE, Vec::new()),
    };
    scopes.push(String::new());
    (transport, scopes)
}

/// The image, its repository, what leads to it, the host, and the domains that the host is in.
fn of_registry(image: &str, name: &str) -> Vec<String> {
    let mut scopes = vec![image.to_owned()];
    let mut rest = name;
    loop {
        scopes.push(rest.to_owned());
        match rest.rsplit_once('/') {
            Some((parent, _)) => rest = parent,
            None => break,
        }
    }
    let mut host = rest.split(':').next().unwrap_or_default();
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes
}

/// The path without symlinks, and the directories it is in, but not the root.
fn of_path(path: &Path) -> Vec<String> {
    let path = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let inner = path.ancestors().filter(|ancestor| ancestor.parent().is_some());
    inner.map(|ancestor| ancestor.to_string_lossy().into_owned()).collect()
}

impl<'de> Deserialize<'de> for Requirements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Requirements, D::Error> {
        let list = Vec::<Requirement>::deserialize(deserializer)?;
        match list.is_empty() {
            true => Err(D::Error::custom("a list of requirements is empty")),
            false => Ok(Requirements(list)),
        }
    }
}

impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Requirement, D::Error> {
        let members = Unique::<Value>::deserialize(deserializer)?.0;
        let alone = |requirement| match members.keys().find(|name| *name != "type") {
            Some(name) => Err(D::Error::custom(format!("unknown member {name:?} of a requirement"))),
            None => Ok(requirement),
        };
        match members.get("type").and_then(Value::as_str) {
            Some("insecureAcceptAnything") => alone(Requirement::AcceptAnything),
            Some("reject") => alone(Requirement::Reject),
            Some("signedBy") => Ok(Requirement::Signature("signedBy")),
            Some("signedBaseLayer") => Ok(Requirement::Signature("signedBaseLayer")),
            Some("sigstoreSigned") => Ok(Requirement::Signature("sigstoreSigned")),
            Some(other) => Err(D::Error::custom(format!("unknown type {other:?} of a requirement"))),
            None => Err(D::Error::custom("a requirement has no type")),
        }
    }
}

/// An object that has each member once: of two, a reader might mean the other.
#[derive(Debug)]
struct Unique<T>(BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Unique<T> {
        Unique(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique<T>, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique<T>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = access.next_entry::<String, T>()? {
                    if let Some((name, _)) = members.get_key_value(&name) {
                        return Err(A::Error::custom(format!("member {name:?} is there twice")));
                    }
                    members.insert(name, value);
                }
                Ok(Unique(members))
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        Policy::parse(Path::new("policy.json"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn pure_the_narrowest_scope_decides() {
        let policy = policy(
            r#"{"default": [{"type": "reject"}], "transports": {
                "docker": {"*.example.com": [{"type": "reject"}],
                    "a.example.com": [{"type": "insecureAcceptAnything"}],
                    "a.example.com/team": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}],
                    "a.example.com/team/app:1": [{"type": "insecureAcceptAnything"}, {"type": "insecureAcceptAnything"}],
                    "localhost:5000": [{"type": "insecureAcceptAnything"}, {"type": "reject"}]},
                "dir": {"/nosuch/in": [{"type": "insecureAcceptAnything"}]},
                "docker-archive": {"": [{"type": "insecureAcceptAnything"}]},
                "containers-storage": {"": [{"type": "reject"}]}}}"#,
        )
        .expect("a policy");
        for (place, expected) in [
            ("docker://a.example.com/other", None),
            ("docker://a.example.com/team/app:1", None),
            ("docker://a.example.com/team/app:2", Some("must be signed (signedBy)")),
            ("docker://b.example.com/other", Some("rejected")),
            ("docker://localhost:5000/x", Some("rejected")),
            ("docker://alpine", Some("rejected")),
            ("dir:/nosuch/in/it", None),
            ("dir:/nosuch/inside", Some("rejected")),
            ("oci:/nosuch/in/it", Some("rejected")),
            ("docker-archive:/nosuch", None),
            ("containers-storage:x", None),
        ] {
            let location = Location::parse(place).expect("a location").expect("a transport");
            let error = policy.check(&location).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expected.is_some(), "{place}: {error:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{place}");
        }
    }

    #[test]
    fn pure_a_policy_that_may_mean_something_else_is_refused() {
        for (text, reason) in [
            ("{}", "missing field `default`"),
            (r#"{"default": []}"#, "empty"),
            (r#"{"default": [{"type": "accept"}]}"#, "unknown type \"accept\""),
            (r#"{"default": [{}]}"#, "no type"),
            (r#"{"default": [{"type": "reject", "unless": 1}]}"#, "unknown member \"unless\""),
            (r#"{"default": [{"type": "reject"}], "transport": {}}"#, "unknown field `transport`"),
            (r#"{"default": [{"type": "reject", "type": "insecureAcceptAnything"}]}"#, "\"type\" is there twice"),
            (r#"{"default": [{"type": "reject"}], "transports": {"dir": {}, "dir": {}}}"#, "\"dir\" is there twice"),
        ] {
            let error = policy(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
