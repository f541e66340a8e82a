//! Whose namespaces a process is in, beside those of its mounts and its network.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::control_group;

/// Whose namespace of one kind a process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of a file such as `/proc/1234/ns/ipc`.
    Path(PathBuf),
}

/// Whose namespaces a process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Of message queues, semaphores and shared memory.
    pub ipc: Namespace,
    /// Of processes. In another than its own, what the process started may outlive a caller that is
    /// killed; [`crate::clean_up_after_kill`] ends it.
    pub pid: Namespace,
    /// Of the host name.
    pub uts: Namespace,
    /// Of control groups; a new one on a host with cgroup v2 alone when absent.
    pub cgroup: Option<Namespace>,
}

/// A namespace that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("namespace {0}: {1}")]
pub struct NamespaceError(pub PathBuf, pub Errno);

/// A namespace of the host, opened.
#[derive(Debug)]
pub(crate) struct OpenNamespace {
    pub file: OwnedFd,
    /// Its name in the bundle.
    pub name: &'static str,
}

impl Namespaces {
    /// Each kind, with the name of its file in `/proc/PID/ns`.
    fn all(&self) -> [(LinuxNamespaceType, &'static str, Namespace); 4] {
        let cgroup = self.cgroup.clone().unwrap_or(match control_group::host_has_v2() {
            true => Namespace::Private,
            false => Namespace::Host,
        });
        [
            (LinuxNamespaceType::Pid, "pid", self.pid.clone()),
            (LinuxNamespaceType::Ipc, "ipc", self.ipc.clone()),
            (LinuxNamespaceType::Uts, "uts", self.uts.clone()),
            (LinuxNamespaceType::Cgroup, "cgroup", cgroup),
        ]
    }

    /// As the runtime specification has them, with a new one for mounts. Those of files are in
    /// `bundle` by then.
    pub(crate) fn to_spec(&self, bundle: &Path) -> Result<Vec<LinuxNamespace>, OciSpecError> {
        let mut spec = vec![LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Mount).build()?];
        for (kind, name, namespace) in self.all() {
            let builder = LinuxNamespaceBuilder::default().typ(kind);
            match namespace {
                Namespace::Private => spec.push(builder.build()?),
                Namespace::Path(_) => spec.push(builder.path(place(bundle, name)).build()?),
                Namespace::Host => {}
            }
        }
        Ok(spec)
    }

    /// Opens those of files: the runtime sees another `/proc`, where their paths mean something else.
    pub(crate) fn open(&self) -> Result<Vec<OpenNamespace>, NamespaceError> {
        let files = self.all().into_iter().filter_map(|(_, name, namespace)| match namespace {
            Namespace::Path(path) => Some((name, path)),
            _ => None,
        });
        files.map(|(name, path)| Ok(OpenNamespace { file: open(&path)?, name })).collect()
    }
}

/// Where the runtime finds the namespace `name`.
pub(crate) fn place(bundle: &Path, name: &str) -> PathBuf {
    bundle.join(format!("namespace-{name}"))
}

/// Opens a namespace's file; another file is refused.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, NamespaceError> {
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    let failed = |errno| NamespaceError(path.into(), errno);
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    match rustix::fs::fstatfs(&file).map_err(failed)?.f_type as u64 == NSFS_MAGIC {
        true => Ok(file),
        false => Err(failed(Errno::INVAL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_namespaces_of_files_are_told_from_other_files() {
        assert!(open(Path::new("/proc/self/ns/ipc")).is_ok());
        for path in ["/etc/passwd", "/", "/proc/self/ns/nosuch"] {
            assert!(open(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn pure_namespaces_of_the_specification() {
        let namespaces = Namespaces {
            ipc: Namespace::Path("/proc/1/ns/ipc".into()),
            pid: Namespace::Host,
            uts: Namespace::Private,
            cgroup: Some(Namespace::Private),
        };
        let spec = namespaces.to_spec(Path::new("/b")).expect("spec");
        let seen: Vec<_> = spec.iter().map(|one| (one.typ(), one.path().clone())).collect();
        use LinuxNamespaceType::*;
        let ipc = Some(PathBuf::from("/b/namespace-ipc"));
        assert_eq!(seen, [(Mount, None), (Ipc, ipc), (Uts, None), (Cgroup, None)]);
    }
}
