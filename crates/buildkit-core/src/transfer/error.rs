//! Why an image could not be transferred.

use registry::RegistryError;
use registry::registries_conf::RegistriesError;

use crate::image::ImageError;

/// A failed transfer.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registries' configuration cannot be used, or leads nowhere.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The image in the store cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
}
