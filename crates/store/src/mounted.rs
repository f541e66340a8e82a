//! A container mounted for as long as a value lives.

use std::path::{Path, PathBuf};

use oci::ContainerId;

use crate::{Result, Store};

/// A container that is mounted (once more, if it was mounted already) as long as this lives.
#[derive(Debug)]
pub struct Mounted<'s> {
    store: &'s Store,
    id: ContainerId,
    path: PathBuf,
}

impl Store {
    /// Mounts the container until the value is dropped.
    ///
    /// # Errors
    /// As [`Store::mount`].
    pub fn mounted(&self, id: &ContainerId) -> Result<Mounted<'_>> {
        Ok(Mounted { store: self, id: id.clone(), path: self.mount(id)? })
    }
}

impl Mounted<'_> {
    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the mount back and tells if that fails.
    pub fn unmount(self) -> Result<()> {
        let this = std::mem::ManuallyDrop::new(self);
        this.store.unmount(&this.id, false).map(drop)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = self.store.unmount(&self.id, false);
    }
}
