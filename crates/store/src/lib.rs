//! The store that CRI-O, Podman, Buildah and Skopeo share.
//!
//! It is containers/storage's, with the driver overlay or vfs: directories of files, JSON records, and `fcntl`
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

mod claims; // nameless images that running commands work with
mod container_records; // look-up, creation, renaming, deletion of containers
mod deletion; // layers leave: records, then directories
mod driver; // overlay, vfs
mod durability; // data is on disk before a record names it
mod error; // what can go wrong, as one line
mod image_data; // what is stored beside an image's record
mod image_lookup; // what a user means by a name
mod images; // image records: creation, names, deletion
mod journal; // changes under way, for whoever comes after a kill
mod layer_dir; // the directory of one layer
mod layer_stack; // layers and what is below them
mod layers; // layer records, look-up, the tar of a layer
mod layout; // every path
mod lists; // images without a config: manifest lists
mod lock; // lock files and tokens
mod mounted; // a container mounted for as long as a value lives
mod mounts; // counted mounts of containers; private mounts of layers
mod move_container; // a container goes on over other layers
mod options; // where the store is and how it mounts; storage.conf
mod overlay; // the kernel's overlay mounts
mod publish; // staged layers and images become visible, at once
mod random; // IDs and names
mod records; // what a row of a JSON file says
mod relocate; // renames below the graph root, whatever is mounted there
mod row_index; // where the rows of large tables are
mod rows; // of the JSON files, as text and as records
mod seal; // a container's upper dir becomes a layer
mod staged_copy; // a layer once more, over other layers
mod staged_mount; // steps of a build, mounted over each other
mod staging; // temporary directories
mod store; // opening
mod table; // the JSON files
mod whole_trees; // layers that hold everything: the vfs driver's

pub use crate::layers::LayerTar;
pub use crate::store::Store;
pub use container_records::NewContainer;
pub use driver::Driver;
pub use error::Error;
pub use image_data::BigData;
pub use images::{DeletedImage, NewImage};
pub use lists::{ListLock, TakenNames};
pub use mounted::Mounted;
pub use mounts::{LayerTree, MountPoint};
pub use options::{ConfigFile, StoreOptions};
pub use publish::{NewLayer, Published, StagedLayer};
pub use records::{BigDataIndex, Container, IdMap, Image, Layer, LayerCompression};
pub use seal::AfterSeal;
pub use staged_mount::{StagedMount, enter_private_mounts};
pub use staging::TemporaryDirectory;
pub use whole_trees::ContainerChanges;

/// What every method of the store gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;
