//! A container goes on over other layers: what a step would write to it is there already.

use oci::{ContainerId, LayerId};

use crate::journal::{Entry, Purpose};
use crate::publish::parse_layer_id;
use crate::seal::{AfterSeal, Upper};
use crate::{Error, Result, Store};

impl Store {
    /// Gives a container an empty layer over `below` in the place of its own, which goes with all
    /// that was written to it. Its mount, if any, is gone; its record keeps the image it was made from.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`], [`Error::UnknownLayer`].
    pub fn move_container(&self, id: &ContainerId, below: &LayerId) -> Result<()> {
        self.require_native()?;
        let fresh = parse_layer_id(&crate::random::id()?)?;
        let copy = self.copy_below(Some(below))?;
        let tree = copy.as_ref().map(|copy| copy.path().join("tree"));
        let trash = self.trash();
        let storage = self.inner.storage_lock.try_write()?;
        self.journalled(|journal| {
            let mut layers = self.write_layers()?;
            let mut containers = self.inner.containers.write()?;
            let record = containers.get(id.as_str()).cloned();
            let record = record.ok_or_else(|| Error::UnknownContainer { name: id.to_string() })?;
            if self.locate(&layers, below)?.is_none() {
                return Err(Error::UnknownLayer { id: below.clone() });
            }
            // Whichever of the two the record does not name goes, after a kill too.
            let both = vec![fresh.clone(), record.layer.clone()];
            let entry = Entry { layers: both.clone(), unneeded: both, ..Entry::default() };
            journal.write(&entry, Purpose::Add)?;
            // A mount that can't be undone leaves all as it is.
            self.unmount_for_removal(&record.layer)?;
            self.place_empty_layer(&mut layers, &fresh, Some(below), tree.as_deref())?;
            layers.save()?;
            let upper = Upper { container: id.clone(), layer: record.layer, after: AfterSeal::Continue };
            self.finish_seal(&upper, Some(&fresh), &mut layers, &mut containers, trash.as_ref())
        })?;
        // It has a file open in the driver's home.
        drop(trash);
        if storage.is_some() {
            self.release_home()?;
        }
        Ok(())
    }
}
