//! Mounts: of containers, counted together with the other tools; and of image layers, private to
//! this process.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::{ContainerId, LayerId};

use crate::{Result, Store};

/// A recorded mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The layer that is mounted.
    pub layer: LayerId,
    /// The container whose layer it is.
    pub container: Option<ContainerId>,
    /// Where.
    pub path: PathBuf,
    /// How many times.
    pub count: u64,
}

/// The files of an image's layers, stacked and read-only, in a mount that is attached nowhere: it
/// goes when this value does.
#[derive(Debug)]
pub struct LayerTree {
    mount: OwnedFd,
}

impl LayerTree {
    /// A path to the tree that works in this process only.
    pub fn path(&self) -> PathBuf {
        todo!("{:?}", self.mount)
    }

    /// Attaches the tree at `target`; it stays until it is unmounted there.
    pub fn attach(self, target: &Path) -> Result<()> {
        todo!("{target:?}")
    }
}

impl Store {
    /// Mounts the container, or counts one more mount of it; gives the path.
    ///
    /// # Errors
    /// [`crate::Error::Mount`], [`crate::Error::TooDeep`].
    pub fn mount(&self, id: &ContainerId) -> Result<PathBuf> {
        todo!("{id}")
    }

    /// Counts one mount less and unmounts at none; with `force` at once. Says whether the
    /// container is unmounted now. Not mounted is no error.
    pub fn unmount(&self, id: &ContainerId, force: bool) -> Result<bool> {
        todo!("{id}{force}")
    }

    /// Every mount that is recorded and really there.
    pub fn mounts(&self) -> Result<Vec<MountPoint>> {
        todo!()
    }

    /// The stacked files of `top` and all below it.
    pub fn open_layer_tree(&self, top: &LayerId) -> Result<LayerTree> {
        todo!("{top}")
    }
}
