//! The store that CRI-O, Podman, Buildah and Skopeo share.
//!
//! It is containers/storage's, overlay driver: directories of files, JSON records, and `fcntl`
//! locks that every tool on the machine takes. A [`Store`] reads and changes it while the others
//! do the same. Each method takes the locks it needs and releases them before it returns; none is
//! held while bytes are hashed, compressed, downloaded or unpacked.
//!
//! ```no_run
//! use store::{Store, StoreOptions};
//!
//! let store = Store::open(StoreOptions::new("/var/lib/containers/storage", "/run/containers/storage"))?;
//! for image in store.images()? {
//!     println!("{} {:?}", image.id, image.names);
//! }
//! # Ok::<(), store::Error>(())
//! ```
#![forbid(unsafe_code)]

mod containers; // working containers: records, directories, deletion
mod error; // what can go wrong, as one line
mod images; // image records: look-up, creation, names, deletion
mod layers; // layer records, look-up, the tar of a layer
mod layout; // every path
mod lock; // lock files and tokens
mod mounts; // counted mounts of containers; private mounts of layers
mod options; // where the store is and how it mounts; storage.conf
mod publish; // staged layers and images become visible, at once
mod random; // IDs and names
mod records; // the JSON files

use std::path::Path;

pub use crate::layers::LayerTar;
pub use containers::NewContainer;
pub use error::Error;
pub use images::{BigData, DeletedImage, NewImage};
pub use mounts::{LayerTree, MountPoint};
pub use options::{ConfigFile, StoreOptions};
pub use publish::{AfterSeal, NewLayer, Published, StagedLayer};
pub use records::{Container, IdMap, Image, Layer, LayerCompression};

/// What every method of the store gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An open store. Clones are cheap and share what was read; all methods may be called from
/// several threads.
#[derive(Clone, Debug)]
pub struct Store {
    options: std::sync::Arc<StoreOptions>,
}

impl Store {
    /// Opens the store, making the directories that are missing.
    ///
    /// # Errors
    /// A directory cannot be made, or the store was filled through a mount program.
    pub fn open(options: StoreOptions) -> Result<Store> {
        todo!("{options:?}")
    }

    /// The store's root for persistent data.
    pub fn graph_root(&self) -> &Path {
        &self.options.graph_root
    }

    /// The store's root for data that a reboot may drop.
    pub fn run_root(&self) -> &Path {
        &self.options.run_root
    }

    /// A directory that is gabion's alone (`<graphroot>/gabion`, mode 0700); the other tools leave
    /// it as it is. Made if missing.
    pub fn private_directory(&self) -> Result<std::path::PathBuf> {
        todo!()
    }
}
