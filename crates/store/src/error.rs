//! What can go wrong with the store. Each message is the complete line for the user.

use std::io;
use std::path::{Path, PathBuf};

use oci::{ContainerId, ImageId, LayerId};

/// Why an operation on the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has this name, ID or ID prefix.
    #[error("{name}: image not known")]
    UnknownImage {
        /// What was given.
        name: String,
    },
    /// Nothing has this name, ID or ID prefix.
    #[error("{name}: container not known")]
    UnknownContainer {
        /// What was given.
        name: String,
    },
    /// No record has this ID.
    #[error("layer {id} is not in the store")]
    UnknownLayer {
        /// The layer asked for.
        id: LayerId,
    },
    /// A prefix that several IDs begin with.
    #[error("{prefix}: ambiguous, it could be {}", .candidates.join(", "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// The IDs that match.
        candidates: Vec<String>,
    },
    /// Another container has the name.
    #[error("the container name {name:?} is already in use by {owner}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        owner: ContainerId,
    },
    /// Another image has the name.
    #[error("image name {name:?} is already associated with image {owner}: that name is already in use")]
    ImageNameTaken {
        /// The name.
        name: String,
        /// Who has it.
        owner: ImageId,
    },
    /// An ID that exists already.
    #[error("{kind} {id} exists already")]
    IdTaken {
        /// `container` or `image`.
        kind: &'static str,
        /// The ID.
        id: String,
    },
    /// Containers are based on the image.
    #[error("image {image} is in use by container {}", join(.containers))]
    ImageInUse {
        /// The image.
        image: ImageId,
        /// The containers.
        containers: Vec<ContainerId>,
    },
    /// The record or its data is in an additional, read-only store.
    #[error("{id} is in a read-only store: it can't be changed")]
    ReadOnly {
        /// The record's ID.
        id: String,
    },
    /// An image with this ID is recorded with another top layer.
    #[error("image {image} exists with another top layer ({existing}); remove that image first")]
    OtherLayer {
        /// The image.
        image: ImageId,
        /// The layer it has.
        existing: String,
    },
    /// An image without one of its big data items.
    #[error(
        "image {image} has no {key:?}: it is being pulled, or its record is incomplete; in that case pull it again"
    )]
    NoData {
        /// The image.
        image: ImageId,
        /// The item.
        key: String,
    },
    /// A layer whose tar cannot be reproduced.
    #[error("layer {id} has no tar-split data: its original archive can't be reproduced")]
    NoTarSplit {
        /// The layer.
        id: LayerId,
    },
    /// Content that is not what its record says.
    #[error("{}: {reason}", .path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A storage driver other than overlay and vfs.
    #[error("storage driver {driver:?} is not supported: expected \"overlay\" or \"vfs\"")]
    Driver {
        /// The driver that the configuration or the store names.
        driver: String,
    },
    /// A store made by fuse-overlayfs.
    #[error("{} was filled through a mount program (fuse-overlayfs): it can't be mounted by the kernel", .0.display())]
    MountProgram(PathBuf),
    /// A configuration file that is not valid.
    #[error("{}: {reason}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// More layers than the kernel stacks.
    #[error("layer {id} has {count} layers below it: at most 500 can be mounted")]
    TooDeep {
        /// The layer.
        id: LayerId,
        /// How many.
        count: usize,
    },
    /// More steps and layers than the kernel stacks.
    #[error("{count} layers below a step: at most 500 can be mounted")]
    TooManyLayers {
        /// How many.
        count: usize,
    },
    /// A mount that the kernel refused.
    #[error("mounting {}: {source}", .path.display())]
    Mount {
        /// Where to.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Trees that could not be copied or compared.
    #[error("copying the files of a layer, {}: {source}", .path.display())]
    Changes {
        /// The tree.
        path: PathBuf,
        /// What went wrong.
        source: ::layers::DiffError,
    },
    /// A layer's tree that cannot be read.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// Records that are not JSON.
    #[error("{}: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file system said no.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was being done: `open`, `rename`…
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was being done to which path.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Error + use<E> {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source: source.into() }
    }

    /// Whether the error says that there is no such image, container or layer.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::UnknownImage { .. } | Error::UnknownContainer { .. } | Error::UnknownLayer { .. })
    }
}

fn join(ids: &[ContainerId]) -> String {
    ids.iter().map(ContainerId::as_str).collect::<Vec<_>>().join(", ")
}
