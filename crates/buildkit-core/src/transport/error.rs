//! What can go wrong with a place that images live in.

use std::path::PathBuf;

use oci::Digest;

/// A failed access to a layout, archive, directory or name.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Text that names no place.
    #[error("invalid image name {text:?}: {reason}")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A file or directory could not be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or directory could not be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A stream failed.
    #[error("{what}: {reason}")]
    Io {
        /// What was transferred.
        what: String,
        /// Why.
        reason: String,
    },
    /// What is there is not what it should be.
    #[error("{path} is not a valid {kind}: {reason}")]
    Invalid {
        /// The file or directory.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No such image in a layout or archive.
    #[error("{path} has no image {name:?}{}", if .available.is_empty() { String::new() } else { format!(": it has {}", .available.join(", ")) })]
    NoSuchImage {
        /// The layout or archive.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// Several images, and none was chosen.
    #[error("{path} has more than one image, choose one: {}", .available.join(", "))]
    SeveralImages {
        /// The layout or archive.
        path: PathBuf,
        /// What there is.
        available: Vec<String>,
    },
    /// The bytes are not those asked for.
    #[error("{place}: blob {expected} has digest {actual}")]
    WrongDigest {
        /// Where it is.
        place: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The bytes are not as many as they should be.
    #[error("{place}: blob {digest} is {} than the {expected} bytes it should have", if *.longer { "longer" } else { "shorter" })]
    WrongSize {
        /// Where it is.
        place: String,
        /// What was asked for.
        digest: Digest,
        /// Bytes expected.
        expected: u64,
        /// Whether there are more.
        longer: bool,
    },
}

/// An I/O error's text, without the number that says nothing to a user.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

impl TransportError {
    pub(crate) fn read(path: impl Into<PathBuf>, error: &std::io::Error) -> TransportError {
        TransportError::Read { path: path.into(), reason: plain(error) }
    }

    pub(crate) fn write(path: impl Into<PathBuf>, error: &std::io::Error) -> TransportError {
        TransportError::Write { path: path.into(), reason: plain(error) }
    }
}

impl From<TransportError> for std::io::Error {
    fn from(error: TransportError) -> std::io::Error {
        std::io::Error::other(error)
    }
}
