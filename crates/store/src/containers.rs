//! Containers: records, directories and deletion.

use std::path::PathBuf;

use oci::{ContainerId, ImageId};

use crate::{Container, Result, Store};

/// A working container to be recorded.
#[derive(Clone, Debug, Default)]
pub struct NewContainer {
    /// Its ID; random if none.
    pub id: Option<ContainerId>,
    /// Its name.
    pub name: String,
    /// The image whose top layer it starts on; none for `scratch`.
    pub image: Option<ImageId>,
    /// Text for the record.
    pub metadata: String,
    /// Whether its content may be lost in a power cut; working containers are volatile.
    pub volatile: bool,
}

impl Store {
    /// All containers, of every tool.
    pub fn containers(&self) -> Result<Vec<Container>> {
        todo!()
    }

    /// The container that a user means by `text`: exact ID, exact name, or an unambiguous
    /// beginning of an ID.
    ///
    /// # Errors
    /// [`crate::Error::UnknownContainer`] or [`crate::Error::Ambiguous`].
    pub fn container(&self, text: &str) -> Result<Container> {
        todo!("{text}")
    }

    /// Makes a container with an empty layer over the image's.
    ///
    /// # Errors
    /// [`crate::Error::NameTaken`], [`crate::Error::UnknownImage`].
    pub fn create_container(&self, container: NewContainer) -> Result<Container> {
        todo!("{container:?}")
    }

    /// Gives the container another name.
    ///
    /// # Errors
    /// [`crate::Error::NameTaken`].
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<()> {
        todo!("{id}{name}")
    }

    /// Unmounts the container and removes its layer, its directories and its record.
    pub fn delete_container(&self, id: &ContainerId) -> Result<()> {
        todo!("{id}")
    }

    /// The directory for what its tool keeps of a container (`userdata`), made if missing.
    pub fn container_directory(&self, id: &ContainerId) -> Result<PathBuf> {
        todo!("{id}")
    }

    /// The same for what a reboot may drop.
    pub fn container_run_directory(&self, id: &ContainerId) -> Result<PathBuf> {
        todo!("{id}")
    }

    /// Where the container's changes are on disk.
    pub fn upper_dir(&self, id: &ContainerId) -> Result<PathBuf> {
        todo!("{id}")
    }
}
