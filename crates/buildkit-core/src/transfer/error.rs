//! Why an image could not be transferred.

use std::io;

use oci::Digest;
use oci::config::InvalidConfig;
use oci::manifest::InvalidManifest;
use registry::RegistryError;
use registry::registries_conf::RegistriesError;

use super::policy::PolicyError;
use crate::image::ImageError;
use crate::transport::TransportError;

/// A failed transfer.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registries' configuration cannot be used, or leads nowhere.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// The signature policy does not let it in.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A layout, archive or directory failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The image in the store cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A manifest or index cannot be used.
    #[error("{name}: {source}")]
    Manifest {
        /// The image.
        name: String,
        /// What is wrong.
        source: InvalidManifest,
    },
    /// The config cannot be used.
    #[error("{name}: {source}")]
    Config {
        /// The image.
        name: String,
        /// What is wrong.
        source: InvalidConfig,
    },
    /// The image contradicts itself.
    #[error("{name}: {reason}")]
    Inconsistent {
        /// The image.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The index has no image for the platform.
    #[error("{name} has no image for platform {platform}: it has {available}")]
    NoPlatform {
        /// The image.
        name: String,
        /// What was wanted.
        platform: String,
        /// What there is.
        available: String,
    },
    /// A layer could not be unpacked.
    #[error("layer {layer} of {name}: {reason}")]
    Layer {
        /// The image.
        name: String,
        /// The layer's digest.
        layer: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A layer unpacks to something else than the config says.
    #[error("layer {layer} of {name} unpacks to {actual}, but the image's config says {expected}")]
    WrongDiffId {
        /// The image.
        name: String,
        /// The layer's digest.
        layer: Digest,
        /// What the config says.
        expected: Digest,
        /// What came out.
        actual: Digest,
    },
    /// The policy forbids to pull and the store does not have it.
    #[error("{name}: image not known")]
    NeverPulled {
        /// The image.
        name: String,
    },
    /// None of the registries that are searched has it.
    #[error("cannot pull {name}: {}", .tried.join("; "))]
    NotOnAny {
        /// The short name.
        name: String,
        /// One line for each registry.
        tried: Vec<String>,
    },
    /// A conversion that does not exist.
    #[error("{0}")]
    Unsupported(String),
}

impl TransferError {
    /// The failure inside an I/O error that came through a stream of `what`.
    pub(crate) fn from_stream(error: io::Error, what: &str) -> TransferError {
        match error.downcast::<RegistryError>() {
            Ok(registry) => registry.into(),
            Err(error) => match error.downcast::<TransportError>() {
                Ok(transport) => transport.into(),
                Err(error) => {
                    TransportError::Io { what: what.to_owned(), reason: crate::transport::plain(&error) }.into()
                }
            },
        }
    }

    /// Whether the same call may succeed when it is repeated.
    pub fn is_transient(&self) -> bool {
        matches!(self, TransferError::Registry(error) if error.is_transient())
    }
}
