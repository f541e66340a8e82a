//! Tar → directory. (work in progress: signatures)
use std::collections::BTreeSet;
use std::io::{Read, Write};

use oci::DiffId;
use rootfs::Root;

/// How to unpack a layer.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// In a user namespace: opaque marks become `user.overlay.opaque`, devices are skipped,
    /// attributes that may not be set are left out.
    pub userxattr: bool,
    /// Fail when the tar is longer than this many bytes.
    pub max_size: Option<u64>,
}

/// What unpacking found out about the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplySummary {
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub size: u64,
    /// User IDs in its headers.
    pub uid_set: BTreeSet<u32>,
    /// Group IDs in its headers.
    pub gid_set: BTreeSet<u32>,
}

/// Why a tar could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The tree could not be written.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// The stream could not be read.
    #[error("cannot read the layer: {0}")]
    Read(#[source] std::io::Error),
}

/// Unpacks an uncompressed layer tar into `into`, an empty directory, as a diff dir of the overlay
/// driver: whiteouts become devices 0:0, opaque marks attributes. Writes tar-split (gzipped) to
/// `tar_split` on the way. Reads `tar` to its end, trailing bytes included.
pub fn apply(
    tar: impl Read + Send,
    into: &Root,
    tar_split: impl Write + Send,
    options: &ApplyOptions,
) -> Result<ApplySummary, ApplyError> {
    let _ = (tar, into, tar_split, options);
    todo!()
}
