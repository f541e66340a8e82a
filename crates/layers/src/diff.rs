//! Overlay upper dir → tar. (work in progress: signatures)
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use oci::DiffId;
use rootfs::{Root, Time};

/// Which modification times the tar carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mtimes {
    /// Those of the files, to the nanosecond.
    #[default]
    Keep,
    /// Those of the files, but none later than this.
    Clamp(Time),
    /// This one for all.
    Set(Time),
}

/// How to read an upper dir.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// Modification times.
    pub mtimes: Mtimes,
    /// The upper dir was mounted with `userxattr`: opaque marks are `user.overlay.opaque`.
    pub userxattr: bool,
    /// Paths relative to the upper dir that stay out, with all below them: mount-point stubs.
    pub exclude: Vec<PathBuf>,
}

/// What a diff found out about the tar it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffSummary {
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub size: u64,
    /// User IDs in its headers.
    pub uid_set: BTreeSet<u32>,
    /// Group IDs in its headers.
    pub gid_set: BTreeSet<u32>,
}

/// Why an upper dir could not become a tar.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// A file could not be read, or changed while it was.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// Relative to the upper dir.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The tar or tar-split could not be written.
    #[error("cannot write the layer: {0}")]
    Write(#[source] std::io::Error),
}

/// Writes the tar of `upper` to `out` and its tar-split (gzipped, as the store keeps it) to
/// `tar_split`. `lowers` are the diff dirs below, nearest first.
pub fn diff(
    upper: &Root,
    lowers: &[Root],
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
) -> Result<DiffSummary, DiffError> {
    let _ = (upper, lowers, out, tar_split, options);
    todo!()
}
