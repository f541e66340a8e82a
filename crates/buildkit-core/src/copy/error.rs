//! Why something could not be copied.

use std::path::PathBuf;

use oci::Digest;

/// Why something could not be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The container could not be told of what was copied.
    #[error(transparent)]
    Container(#[from] crate::working_container::WorkingContainerError),
    /// A tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// The tree that is copied from cannot be opened.
    #[error("cannot copy from {name:?}: {reason}")]
    From {
        /// The directory, image or container.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Nothing is there.
    #[error("cannot copy {0:?}: no such file or directory")]
    Missing(String),
    /// The pattern matches nothing.
    #[error("cannot copy {0:?}: the pattern matched nothing")]
    NoMatch(String),
    /// The pattern is malformed.
    #[error("cannot copy {0:?}: a malformed pattern")]
    BadPattern(String),
    /// All that was found is left out.
    #[error(
        "no items matching glob {0:?}: an ignore file or --exclude leaves out all there are: no such file or directory"
    )]
    AllIgnored(String),
    /// No sources.
    #[error("nothing to copy: a source is expected")]
    NoSources,
    /// Several things, or a directory, cannot become one file.
    #[error("destination {0:?} already exists and is not a directory")]
    NotADirectory(String),
    /// A user or group that the container does not know.
    #[error("cannot give files to {user:?}: {reason}")]
    User {
        /// As given.
        user: String,
        /// Why not.
        reason: String,
    },
    /// A URL could not be fetched.
    #[error(transparent)]
    Download(#[from] registry::DownloadError),
    /// The HTTP client could not be set up.
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    /// The URL has no file name, and the destination gives none.
    #[error("cannot name what {0:?} holds: give a destination that does not end in a slash")]
    NamelessUrl(String),
    /// A kind of source that is not supported here.
    #[error("cannot copy {source_text:?}: {reason}")]
    Unsupported {
        /// As given.
        source_text: String,
        /// Why not.
        reason: &'static str,
    },
    /// A git repository could not be had.
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    /// Options that contradict each other, or that the source has no use for.
    #[error("cannot copy {source_text:?}: {reason}")]
    Contradiction {
        /// As given.
        source_text: String,
        /// What contradicts what.
        reason: String,
    },
    /// The download is not what was expected.
    #[error("{url} has digest {actual}, expected {expected}")]
    WrongDigest {
        /// The URL.
        url: String,
        /// What `--checksum` says.
        expected: String,
        /// What came.
        actual: Digest,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack {path:?}: {source}")]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: layers::ApplyError,
    },
    /// A file could not be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path:?} in the container: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
}
