//! Changes under way, for whoever opens the store after a kill.
//!
//! Before gabion touches directories that records will name (or name no longer), it writes down
//! which in `gabion/journal/<random>`, a file that it keeps locked until the change is complete.
//! An entry whose lock is free belongs to a killed process: the next [`Store`] that is opened takes
//! the change back, or completes it where others may have built on it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use oci::{ContainerId, ImageId, LayerId};
use serde::{Deserialize, Serialize};

use crate::deletion::unused_layers;
use crate::lock::{Guard, LockFile};
use crate::seal::SealEntry;
use crate::staging::{remove_file, remove_tree};
use crate::{Error, Result, Store};

/// What is being changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// Layers coming or going: without a record, their files go.
    pub layers: Vec<LayerId>,
    /// Layers whose record goes too if nothing uses them. Top first.
    pub unneeded: Vec<LayerId>,
    /// Images coming or going: without a record, their files go.
    pub images: Vec<ImageId>,
    /// Containers coming or going: without a record, their files go.
    pub containers: Vec<ContainerId>,
    /// A container whose upper dir is becoming a layer.
    pub seal: Option<SealEntry>,
}

/// Which way a change goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The disk gets fuller.
    Add,
    /// The disk gets emptier.
    Remove,
}

/// A change under way; nothing is on disk before [`Journal::write`].
pub(crate) struct Journal<'a> {
    store: &'a Store,
    written: Option<(PathBuf, Guard)>,
}

impl Journal<'_> {
    /// Writes the entry down; that of a removal in the space kept for those, if there is no other.
    pub fn write(&mut self, entry: &Entry, purpose: Purpose) -> Result<()> {
        let (path, guard) = match self.store.write_entry(entry) {
            Err(Error::Io { source, .. })
                if purpose == Purpose::Remove && source.kind() == io::ErrorKind::StorageFull =>
            {
                remove_file(&self.store.layout().private().join("reserve"))?;
                self.store.write_entry(entry)?
            }
            result => result?,
        };
        self.written = Some((path, guard));
        Ok(())
    }
}

impl Store {
    /// Makes a change that is taken back if it fails or is killed. `change` takes the locks and
    /// releases them.
    pub(crate) fn journalled<T>(&self, change: impl FnOnce(&mut Journal) -> Result<T>) -> Result<T> {
        let mut journal = Journal { store: self, written: None };
        let result = change(&mut journal);
        if let Some((path, guard)) = journal.written {
            match &result {
                Ok(_) => remove_file(&path)?,
                Err(_) => {
                    drop(guard);
                    // What can't be taken back now is tried again by the next store opened.
                    let _ = self.recover();
                }
            }
        }
        result
    }

    fn write_entry(&self, entry: &Entry) -> Result<(PathBuf, Guard)> {
        let dir = self.layout().journal();
        let bytes = serde_json::to_vec(entry).map_err(|source| Error::Json { path: dir.clone(), source })?;
        loop {
            let path = dir.join(crate::random::suffix()?);
            let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
            // Until it is locked, somebody may take the file for a killed process's.
            let guard = LockFile::new(path.clone()).try_write()?;
            let Some(guard) = guard.filter(Guard::is_current) else { continue };
            if let Err(error) = file.write_all(&bytes) {
                let _ = fs::remove_file(&path);
                return Err(Error::io("write", &path)(error));
            }
            return Ok((path, guard));
        }
    }

    /// Takes back or completes what killed processes were changing.
    pub(crate) fn recover(&self) -> Result<()> {
        let dir = self.layout().journal();
        for found in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let path = found.map_err(Error::io("read", &dir))?.path();
            let Some(_guard) = LockFile::new(path.clone()).try_write()?.filter(Guard::is_current) else { continue };
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            // Killed before the entry was complete, it had not changed anything.
            if let Ok(entry) = serde_json::from_slice::<Entry>(&bytes) {
                self.recover_entry(&entry)?;
            }
            remove_file(&path)?;
        }
        Ok(())
    }

    fn recover_entry(&self, entry: &Entry) -> Result<()> {
        let layout = self.layout();
        let mut layers = self.write_layers()?;
        let images = self.inner.images.read()?;
        let mut containers = self.inner.containers.write()?;
        if let Some(seal) = &entry.seal {
            self.recover_seal(seal, &mut layers, &images.table, &mut containers)?;
        }
        let mut unused = unused_layers(&layers, &images.table, None, &containers, entry.unneeded.iter().cloned());
        unused.retain(|id| entry.unneeded.contains(id));
        self.remove_layers(&mut layers, &unused, None)?;
        for id in &entry.layers {
            if layers.get(id.as_str()).is_none() && !layers.has_unknown_row(id.as_str()) {
                self.remove_layer_files(id, None)?;
            }
        }
        for id in entry.images.iter().filter(|id| images.table.get(id.as_str()).is_none()) {
            remove_tree(&layout.image_dir(id))?;
        }
        for id in entry.containers.iter().filter(|id| containers.get(id.as_str()).is_none()) {
            remove_tree(&layout.container_dir(id))?;
            remove_tree(&layout.container_run_dir(id))?;
        }
        Ok(())
    }
}
