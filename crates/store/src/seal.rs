//! Sealing: a working container's upper dir *is* an overlay layer, so it becomes one by a rename.
//!
//! ```text
//! overlay/C/diff  (the container's)  ⇄ exchanged ⇄  overlay/N/diff  (empty, then the new layer's)
//! ```
//! The exchange and the records cannot change at once; the journal's entry says how to go on after
//! a kill in between.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci::{ContainerId, LayerId};
use serde::{Deserialize, Serialize};

use crate::publish::StagedLayer;
use crate::staging::{TempDir, make_dir, remove_tree};
use crate::table::{Table, Writing};
use crate::{Container, Error, Image, Layer, Result, Store, relocate};

/// What becomes of a container whose upper dir is sealed into a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSeal {
    /// It is deleted, as `commit --rm` does.
    Delete,
    /// It goes on with an empty layer over the sealed one. Its mount, if any, is gone; its record
    /// keeps the image it was made from.
    Continue,
}

/// The upper dir behind a [`StagedLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Upper {
    pub container: ContainerId,
    pub layer: LayerId,
    pub after: AfterSeal,
}

/// What the journal keeps of a seal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SealEntry {
    container: ContainerId,
    upper: LayerId,
    /// Of the upper dir: says where it is now.
    inode: u64,
    sealed: LayerId,
    /// The container's new layer; none if the container goes.
    fresh: Option<LayerId>,
}

impl SealEntry {
    pub fn new(store: &Store, upper: &Upper, sealed: LayerId, fresh: Option<LayerId>) -> Result<SealEntry> {
        let diff = store.layout().diff(&upper.layer);
        let inode = fs::metadata(&diff).map_err(Error::io("stat", &diff))?.ino();
        Ok(SealEntry { container: upper.container.clone(), upper: upper.layer.clone(), inode, sealed, fresh })
    }
}

impl Store {
    /// Unmounts a container and stages its upper dir, which is *moved* when it is published: no file
    /// is copied but with vfs. Nobody may mount the container between this and publishing.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`]; the store was filled through a mount program; the container's
    /// files are stored with ID maps.
    pub fn stage_upper(&self, container: &ContainerId, after: AfterSeal) -> Result<StagedLayer> {
        self.require_native()?;
        let record = self.container_by_id(container)?;
        let layer = self.layer(&record.layer)?;
        let diff = self.layout().diff(&layer.id);
        if !layer.uid_map.is_empty() || !layer.gid_map.is_empty() || diff.with_file_name("diff1").exists() {
            return Err(Error::Damaged { path: diff, reason: "its files are stored with ID maps".into() });
        }
        let storage = self.inner.storage_lock.try_write()?;
        let layers = self.write_layers()?;
        self.unmount_for_removal(&layer.id)?;
        drop(layers);
        if storage.is_some() {
            self.release_home()?;
        }
        let temp = TempDir::new(self.layout())?;
        let placeholder = temp.path().join("layer").join("diff");
        make_dir(&placeholder)?;
        let upper = Upper { container: container.clone(), layer: layer.id, after };
        if self.has_whole_trees() {
            self.compare_container(container, &placeholder)?;
            return Ok(StagedLayer { temp, diff: placeholder, upper: Some(upper) });
        }
        Ok(StagedLayer { temp, diff, upper: Some(upper) })
    }

    /// # Errors
    /// The container is gone or has another layer than when it was staged.
    pub(crate) fn check_upper(&self, upper: &Upper, containers: &Table<Container>) -> Result<()> {
        match containers.get(upper.container.as_str()) {
            Some(record) if record.layer == upper.layer => Ok(()),
            _ => Err(Error::UnknownContainer { name: upper.container.to_string() }),
        }
    }

    /// Exchanges the container's upper dir with the empty `diff`.
    pub(crate) fn move_upper(&self, upper: &Upper, diff: &Path) -> Result<()> {
        self.unmount_for_removal(&upper.layer)?;
        relocate::exchange(self.layout(), &self.layout().diff(&upper.layer), diff)
    }

    /// Gives the container its fresh layer, or removes it; the old layer goes.
    pub(crate) fn finish_seal(
        &self,
        upper: &Upper,
        fresh: Option<&LayerId>,
        layers: &mut Writing<'_, Layer>,
        containers: &mut Writing<'_, Container>,
        trash: Option<&TempDir>,
    ) -> Result<()> {
        let id = upper.container.as_str();
        match fresh {
            Some(fresh) => {
                if let Some(record) = containers.get_mut(id) {
                    record.layer = fresh.clone();
                }
            }
            None => {
                containers.remove(id);
            }
        }
        containers.save()?;
        self.remove_layers(layers, std::slice::from_ref(&upper.layer), trash)?;
        if fresh.is_none() {
            remove_tree(&self.layout().container_dir(&upper.container))?;
            remove_tree(&self.layout().container_run_dir(&upper.container))?;
        }
        Ok(())
    }

    /// Goes on after a kill: back as long as nobody can have seen the new layer, else forward.
    pub(crate) fn recover_seal(
        &self,
        entry: &SealEntry,
        layers: &mut Writing<'_, Layer>,
        images: &Table<Image>,
        containers: &mut Writing<'_, Container>,
    ) -> Result<()> {
        let layout = self.layout();
        let sealed = layout.diff(&entry.sealed);
        let upper = layout.diff(&entry.upper);
        let id = entry.container.as_str();
        if layers.get(entry.sealed.as_str()).is_some() {
            let switched = containers.get(id).is_none_or(|record| record.layer != entry.upper);
            let is_used = images.iter().any(|image| image.layer.as_ref() == Some(&entry.sealed))
                || layers
                    .iter()
                    .any(|l| l.parent.as_ref() == Some(&entry.sealed) && Some(&l.id) != entry.fresh.as_ref());
            match &entry.fresh {
                _ if switched => return Ok(()),
                Some(fresh) if layers.get(fresh.as_str()).is_some() => {
                    if let Some(record) = containers.get_mut(id) {
                        record.layer = fresh.clone();
                    }
                    return containers.save();
                }
                None if is_used => {
                    containers.remove(id);
                    containers.save()?;
                    remove_tree(&layout.container_dir(&entry.container))?;
                    return remove_tree(&layout.container_run_dir(&entry.container));
                }
                _ => {}
            }
            layers.remove(entry.sealed.as_str());
            layers.save()?;
        }
        let is_exchanged = fs::metadata(&sealed).is_ok_and(|there| there.ino() == entry.inode);
        if is_exchanged {
            relocate::exchange(layout, &upper, &sealed)?;
        }
        Ok(())
    }
}
