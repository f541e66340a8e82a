//! Why something could not be done with a manifest list.

use std::io;
use std::path::PathBuf;

use oci::Digest;
use oci::manifest::InvalidManifest;

use crate::image::ImageError;
use crate::transfer::TransferError;
use crate::transport::TransportError;

/// A failure with a manifest list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The store failed, or has no such image.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An image of the store cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image elsewhere cannot be used, or the list not be sent.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The name is of an image.
    #[error("{name}: image is not a manifest list")]
    NotAList {
        /// The image.
        name: String,
    },
    /// What is there as a manifest cannot be used.
    #[error("{name}: {source}")]
    Manifest {
        /// The list or image.
        name: String,
        /// What is wrong.
        source: InvalidManifest,
    },
    /// What is kept beside the list cannot be used.
    #[error("manifest list {name}: invalid {key}: {reason}")]
    Data {
        /// The list.
        name: String,
        /// The item.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The list has no such entry.
    #[error("manifest list {list} has no entry {entry:?}: expected a digest, an image or a file that was added to it")]
    NoEntry {
        /// The list.
        list: String,
        /// What was asked for.
        entry: String,
    },
    /// The image of an entry is not where it was.
    #[error("manifest list {list}: the image {digest} is not in the store any more, and nobody said where else it is")]
    Gone {
        /// The list.
        list: String,
        /// The image's manifest.
        digest: Digest,
    },
    /// A file for an artifact cannot be used.
    #[error("cannot read {}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl ListError {
    /// Whether there is no image of the name.
    pub fn is_not_found(&self) -> bool {
        match self {
            ListError::Store(error) | ListError::Image(ImageError::Store(error)) => error.is_not_found(),
            _ => false,
        }
    }

    /// Whether there is no image for the platform that was asked for.
    pub(super) fn is_of_platform(&self) -> bool {
        matches!(self, ListError::Transfer(TransferError::NoPlatform { .. }))
    }
}

impl From<TransportError> for ListError {
    fn from(error: TransportError) -> ListError {
        ListError::Transfer(error.into())
    }
}
