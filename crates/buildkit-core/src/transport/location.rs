//! The text forms of places (containers-transports(5)).

use std::fmt;
use std::path::PathBuf;

use oci::{Digest, Reference};
use store::Driver;

use super::TransportError;

/// Where an image is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `docker://NAME`
    Docker(Reference),
    /// `oci:PATH[:NAME]`
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// The image's name in it.
        name: Option<String>,
    },
    /// `oci-archive:PATH[:NAME]`
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The image's name in it.
        name: Option<String>,
    },
    /// `docker-archive:PATH[:NAME|:@INDEX]`
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which of its images.
        choice: ArchiveChoice,
    },
    /// `dir:PATH`
    Dir {
        /// The directory.
        path: PathBuf,
    },
    /// `containers-storage:[DRIVER@GRAPHROOT+RUNROOT]NAME`
    Storage {
        /// The store, if it is another than the command's.
        store: Option<StoreChoice>,
        /// Name or ID.
        name: String,
    },
}

/// Which image of a docker-archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ArchiveChoice {
    /// The only one.
    #[default]
    Only,
    /// The one with this name.
    Named(Reference),
    /// By position, from 0.
    Index(usize),
}

/// A store other than the command's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreChoice {
    /// How it keeps its layers, if that is said.
    pub driver: Option<Driver>,
    /// Its directory of images and layers.
    pub graph_root: PathBuf,
    /// Its directory of state.
    pub run_root: Option<PathBuf>,
}

impl Location {
    /// Parses `text` if it begins with a transport; `None` means that it is a bare name.
    pub fn parse(text: &str) -> Result<Option<Location>, TransportError> {
        let invalid = |reason: String| TransportError::Name { text: text.chars().take(300).collect(), reason };
        let Some((transport, rest)) = text.split_once(':') else { return Ok(None) };
        let location = match transport {
            "docker" => {
                // `docker:1` is a bare name with a tag.
                let Some(name) = rest.strip_prefix("//") else { return Ok(None) };
                let reference = Reference::parse_normalized(name).map_err(|error| invalid(error.reason.to_owned()))?;
                if reference.tag().is_some() && reference.digest().is_some() {
                    return Err(invalid("docker references with both a tag and a digest are not supported".into()));
                }
                Location::Docker(reference.with_default_tag())
            }
            "oci" | "oci-archive" => {
                let (path, name) = path_and_name(rest);
                if path.is_empty() {
                    return Err(invalid("the path is missing".into()));
                }
                let (path, name) = (PathBuf::from(path), name.filter(|n| !n.is_empty()).map(str::to_owned));
                match transport {
                    "oci" => Location::OciLayout { path, name },
                    _ => Location::OciArchive { path, name },
                }
            }
            "docker-archive" => {
                let (path, name) = path_and_name(rest);
                if path.is_empty() {
                    return Err(invalid("the path is missing".into()));
                }
                let choice = match name {
                    None | Some("") => ArchiveChoice::Only,
                    Some(name) => match name.strip_prefix('@') {
                        Some(index) => ArchiveChoice::Index(
                            index.parse().map_err(|_| invalid("the index after @ is not a number".into()))?,
                        ),
                        None => {
                            let reference =
                                Reference::parse_normalized(name).map_err(|error| invalid(error.reason.to_owned()))?;
                            if reference.digest().is_some() {
                                return Err(invalid("a docker-archive name cannot have a digest".into()));
                            }
                            ArchiveChoice::Named(reference.with_default_tag())
                        }
                    },
                };
                Location::DockerArchive { path: path.into(), choice }
            }
            "dir" => {
                if rest.is_empty() {
                    return Err(invalid("the path is missing".into()));
                }
                Location::Dir { path: rest.into() }
            }
            "containers-storage" => storage(rest).map_err(|reason| invalid(reason.to_owned()))?,
            "docker-daemon" | "ostree" | "tarball" | "sif" | "atomic" => {
                return Err(invalid(format!("the transport {transport} is not supported")));
            }
            _ => return Ok(None),
        };
        Ok(Some(location))
    }
}

/// `PATH[:NAME]`: the path has no colon.
fn path_and_name(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (text, None),
    }
}

fn storage(text: &str) -> Result<Location, &'static str> {
    let (store, name) = match text.strip_prefix('[') {
        None => (None, text),
        Some(rest) => {
            let (inner, name) = rest.split_once(']').ok_or("the bracket is not closed")?;
            // Options of the driver stand after a colon; none of them changes what an image is.
            let inner = inner.split_once(':').map_or(inner, |(roots, _)| roots);
            let (driver, roots) = inner.split_once('@').unwrap_or(("", inner));
            let driver = match driver {
                "" => None,
                name => Some(Driver::parse(name).map_err(|_| "the storage drivers are overlay and vfs")?),
            };
            let (graph, run) = match roots.split_once('+') {
                Some((graph, run)) => (graph, Some(PathBuf::from(run)).filter(|path| path.is_absolute())),
                None => (roots, None),
            };
            if !graph.starts_with('/') {
                return Err("the store's directory must be an absolute path");
            }
            (Some(StoreChoice { driver, graph_root: graph.into(), run_root: run }), name)
        }
    };
    // `@ID` and `NAME@ID` name an image by its ID.
    let name = match name.rsplit_once('@') {
        Some((_, id)) if Digest::parse(id).is_err() && !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            id
        }
        _ => name,
    };
    if name.is_empty() {
        return Err("the image's name is missing");
    }
    Ok(Location::Storage { store, name: name.to_owned() })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, transport: &str, path: &PathBuf, name: &Option<String>| {
            write!(f, "{transport}:{}", path.display())?;
            name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
        };
        match self {
            Location::Docker(reference) => write!(f, "docker://{reference}"),
            Location::OciLayout { path, name } => named(f, "oci", path, name),
            Location::OciArchive { path, name } => named(f, "oci-archive", path, name),
            Location::DockerArchive { path, choice } => {
                write!(f, "docker-archive:{}", path.display())?;
                match choice {
                    ArchiveChoice::Only => Ok(()),
                    ArchiveChoice::Named(reference) => write!(f, ":{reference}"),
                    ArchiveChoice::Index(index) => write!(f, ":@{index}"),
                }
            }
            Location::Dir { path } => write!(f, "dir:{}", path.display()),
            Location::Storage { store: None, name } => write!(f, "containers-storage:{name}"),
            Location::Storage { store: Some(store), name } => {
                let driver = store.driver.unwrap_or_default().name();
                write!(f, "containers-storage:[{driver}@{}]{name}", store.graph_root.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_locations_are_told_from_bare_names() {
        for (text, expected) in [
            ("docker://alpine", Some("docker://docker.io/library/alpine:latest")),
            ("docker://localhost:5000/a/b:1", Some("docker://localhost:5000/a/b:1")),
            ("oci:/tmp/x", Some("oci:/tmp/x")),
            ("oci:/tmp/x:a:1", Some("oci:/tmp/x:a:1")),
            ("oci-archive:x.tar:", Some("oci-archive:x.tar")),
            ("docker-archive:x.tar:app", Some("docker-archive:x.tar:docker.io/library/app:latest")),
            ("docker-archive:x.tar:@2", Some("docker-archive:x.tar:@2")),
            ("dir:/tmp/a:b", Some("dir:/tmp/a:b")),
            ("containers-storage:app:1", Some("containers-storage:app:1")),
            ("containers-storage:[vfs@/g]app", Some("containers-storage:[vfs@/g]app")),
            ("containers-storage:[overlay@/g+/r:overlay.x=y]app", Some("containers-storage:[overlay@/g]app")),
            ("containers-storage:@0123ab", Some("containers-storage:0123ab")),
            ("alpine", None),
            ("alpine:3", None),
            ("docker:1", None),
            ("localhost:5000/a", None),
        ] {
            let parsed = Location::parse(text).expect(text).map(|location| location.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn pure_bad_locations_say_why() {
        for text in [
            "docker://",
            "docker://A",
            "oci:",
            "oci::x",
            "dir:",
            "docker-archive:",
            "docker-archive:x:@y",
            "containers-storage:",
            "containers-storage:[btrfs@/x]y",
            "containers-storage:[overlay@x]y",
            "containers-storage:[x",
            "docker-daemon:x",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }
}
