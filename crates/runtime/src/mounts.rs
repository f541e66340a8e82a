//! What is mounted where.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// One mount of the process.
#[derive(Debug)]
pub struct Mount {
    /// Where, inside the root file system; absolute. Created when missing and removed afterwards.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Whether the process may not write to it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug)]
pub enum MountKind {
    /// A file or directory.
    Bind {
        /// Which.
        source: BindSource,
        /// How mounts inside it spread.
        propagation: Propagation,
        /// Whether what is mounted below the source comes along.
        recursive: bool,
        /// Whether writes go to a scratch directory that is dropped with the process.
        discard_writes: bool,
        /// Further mount options by their names in mount(8): `nosuid`, `nodev`, `noexec`…
        options: Vec<String>,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Largest size in bytes; the kernel's default when absent.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: Option<u32>,
        /// Whether it starts as a copy of what is at the target.
        copy_up: bool,
        /// Further mount options by their names in mount(8).
        options: Vec<String>,
    },
}

/// Source of a bind mount.
#[derive(Debug)]
pub enum BindSource {
    /// A path of the host that the user named.
    Path(PathBuf),
    /// An open file or directory (`O_PATH` is enough): what was found in a tree that is not trusted.
    Fd(OwnedFd),
}

/// How mounts and unmounts spread between a bind mount and its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Propagation {
    Private,
    #[default]
    RecursivePrivate,
    Slave,
    RecursiveSlave,
    Shared,
    RecursiveShared,
}
