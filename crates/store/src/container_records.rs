//! Containers: look-up, creation, renaming and deletion.

use std::path::PathBuf;

use jiff::Timestamp;
use oci::{ContainerId, ImageId, LayerId};
use serde_json::{Map, Value};

use crate::journal::{Entry, Purpose};
use crate::publish::parse_layer_id;
use crate::staging::{make_dir, remove_tree};
use crate::{BigDataIndex, Container, Error, Result, Store, TemporaryDirectory};

/// A working container to be recorded.
#[derive(Clone, Debug)]
pub struct NewContainer {
    /// Its ID; random if none.
    pub id: Option<ContainerId>,
    /// Its name.
    pub name: String,
    /// The image whose top layer it starts on; none for `scratch`.
    pub image: Option<ImageId>,
    /// The layer that it starts on in place of the image's.
    pub layer: Option<LayerId>,
    /// Text for the record.
    pub metadata: String,
    /// Whether its content may be lost in a power cut; working containers are volatile.
    pub volatile: bool,
}

impl NewContainer {
    /// A working container: volatile, with a random ID and no metadata.
    pub fn new(name: impl Into<String>, image: Option<ImageId>) -> NewContainer {
        NewContainer { id: None, name: name.into(), image, layer: None, metadata: String::new(), volatile: true }
    }
}

impl Store {
    /// All containers, of every tool.
    pub fn containers(&self) -> Result<Vec<Container>> {
        Ok(self.inner.containers.read()?.table.iter().cloned().collect())
    }

    /// The container with exactly this ID.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`].
    pub fn container_by_id(&self, id: &ContainerId) -> Result<Container> {
        let reading = self.inner.containers.read()?;
        reading.table.get(id.as_str()).cloned().ok_or_else(|| Error::UnknownContainer { name: id.to_string() })
    }

    /// The container that a user means by `text`: an exact ID, an exact name, the ID of its layer,
    /// or an unambiguous beginning of an ID.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`] or [`Error::Ambiguous`].
    pub fn container(&self, text: &str) -> Result<Container> {
        let table = self.inner.containers.read()?.table;
        let exact = table
            .get(text)
            .or_else(|| table.by_name(text))
            .or_else(|| table.iter().find(|container| container.layer.as_str() == text));
        if let Some(container) = exact {
            return Ok(container.clone());
        }
        let unknown = || Error::UnknownContainer { name: text.to_owned() };
        if text.is_empty() {
            return Err(unknown());
        }
        let matches: Vec<&Container> = table.by_prefix(text).collect();
        match matches[..] {
            [] => Err(unknown()),
            [container] => Ok(container.clone()),
            _ => Err(Error::Ambiguous {
                prefix: text.to_owned(),
                candidates: matches.iter().map(|container| container.id.to_string()).collect(),
            }),
        }
    }

    /// Makes a container with an empty layer over the image's.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::IdTaken`], [`Error::UnknownImage`], [`Error::UnknownLayer`].
    pub fn create_container(&self, new: NewContainer) -> Result<Container> {
        self.require_native()?;
        let id = match new.id {
            Some(id) => id,
            None => ContainerId::parse(&crate::random::id()?)
                .map_err(|_| Error::UnknownContainer { name: new.name.clone() })?,
        };
        let layer = parse_layer_id(&crate::random::id()?)?;
        let below = match (&new.layer, &new.image) {
            (Some(layer), _) => Some(layer.clone()),
            (None, Some(image)) => self.image_by_id(image)?.layer,
            (None, None) => None,
        };
        let copy = self.copy_below(below.as_ref())?;
        let tree = copy.as_ref().map(|copy| copy.path().join("tree"));
        self.journalled(|journal| {
            let mut layers = self.write_layers()?;
            if let Some(image) = &new.image {
                self.image_by_id(image)?;
            }
            let mut containers = self.inner.containers.write()?;
            if containers.get(id.as_str()).is_some() {
                return Err(Error::IdTaken { kind: "container", id: id.to_string() });
            }
            if let Some(owner) = containers.by_name(&new.name) {
                return Err(Error::NameTaken { name: new.name.clone(), owner: owner.id.clone() });
            }
            journal.write(
                &Entry {
                    layers: vec![layer.clone()],
                    unneeded: vec![layer.clone()],
                    containers: vec![id.clone()],
                    ..Entry::default()
                },
                Purpose::Add,
            )?;
            self.place_empty_layer(&mut layers, &layer, below.as_ref(), tree.as_deref())?;
            layers.save()?;
            let mut flags = Map::new();
            flags.insert("MountLabel".into(), "".into());
            flags.insert("ProcessLabel".into(), "".into());
            if new.volatile {
                flags.insert("Volatile".into(), Value::Bool(true));
            }
            let container = Container {
                id: id.clone(),
                names: vec![new.name.clone()],
                image: new.image.clone(),
                layer: layer.clone(),
                metadata: new.metadata.clone(),
                big_data: BigDataIndex::default(),
                created: Timestamp::now(),
                uid_map: Vec::new(),
                gid_map: Vec::new(),
                flags,
                unknown: Map::new(),
            };
            containers.push(container.clone());
            containers.save()?;
            Ok(container)
        })
    }

    /// Gives the container this name and no other.
    ///
    /// # Errors
    /// [`Error::NameTaken`].
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<()> {
        let mut containers = self.inner.containers.write()?;
        if let Some(owner) = containers.by_name(name).filter(|owner| owner.id != *id) {
            return Err(Error::NameTaken { name: name.to_owned(), owner: owner.id.clone() });
        }
        let record = containers.get_mut(id.as_str()).ok_or_else(|| Error::UnknownContainer { name: id.to_string() })?;
        record.names = vec![name.to_owned()];
        containers.save()
    }

    /// Unmounts the container and removes its record, its layer and its directories.
    pub fn delete_container(&self, id: &ContainerId) -> Result<()> {
        if self.delete_containers(std::slice::from_ref(id))?.is_empty() {
            return Err(Error::UnknownContainer { name: id.to_string() });
        }
        Ok(())
    }

    /// The same of several at once; gives those that were there.
    pub fn delete_containers(&self, ids: &[ContainerId]) -> Result<Vec<ContainerId>> {
        let trash = self.trash();
        let storage = self.inner.storage_lock.try_write()?;
        let deleted = self.journalled(|journal| {
            let mut layers = self.write_layers()?;
            let mut containers = self.inner.containers.write()?;
            let records: Vec<Container> = ids.iter().filter_map(|id| containers.get(id.as_str()).cloned()).collect();
            if records.is_empty() {
                return Ok(Vec::new());
            }
            let own_layers: Vec<LayerId> = records.iter().map(|record| record.layer.clone()).collect();
            let deleted: Vec<ContainerId> = records.into_iter().map(|record| record.id).collect();
            journal.write(
                &Entry {
                    layers: own_layers.clone(),
                    unneeded: own_layers.clone(),
                    containers: deleted.clone(),
                    ..Entry::default()
                },
                Purpose::Remove,
            )?;
            // A mount that can't be undone leaves all as it is.
            own_layers.iter().try_for_each(|layer| self.unmount_for_removal(layer))?;
            deleted.iter().for_each(|id| _ = containers.remove(id.as_str()));
            containers.use_reserve();
            containers.save()?;
            let recorded: Vec<LayerId> =
                own_layers.into_iter().filter(|layer| layers.get(layer.as_str()).is_some()).collect();
            if !recorded.is_empty() {
                self.remove_layers(&mut layers, &recorded, trash.as_ref())?;
            }
            for id in &deleted {
                remove_tree(&self.layout().container_dir(id))?;
                remove_tree(&self.layout().container_run_dir(id))?;
            }
            Ok(deleted)
        })?;
        // It has a file open in the driver's home.
        drop(trash);
        if storage.is_some() {
            self.release_home()?;
        }
        Ok(deleted)
    }

    /// The directory for what its tool keeps of a container (`userdata`), made if missing.
    pub fn container_directory(&self, id: &ContainerId) -> Result<PathBuf> {
        let path = self.layout().container_dir(id).join("userdata");
        make_dir(&path)?;
        Ok(path)
    }

    /// A file in that directory; `None` if it is not there, nor the container any more.
    pub fn container_file(&self, id: &ContainerId, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.layout().container_dir(id).join("userdata").join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Moves a temporary directory into that directory, under a new name that begins with `prefix`.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`].
    pub fn keep_with_container(&self, id: &ContainerId, dir: TemporaryDirectory, prefix: &str) -> Result<PathBuf> {
        self.container_by_id(id)?;
        let path = self.container_directory(id)?.join(format!("{prefix}{}", crate::random::suffix()?));
        crate::relocate::rename(self.layout(), dir.path(), &path)?;
        Ok(path)
    }

    /// Like [`Store::container_directory`], for what a reboot may drop.
    pub fn container_run_directory(&self, id: &ContainerId) -> Result<PathBuf> {
        let path = self.layout().container_run_dir(id).join("userdata");
        make_dir(&path)?;
        Ok(path)
    }

    /// Where the container's changes are on disk; with vfs, all its files.
    pub fn upper_dir(&self, id: &ContainerId) -> Result<PathBuf> {
        Ok(self.layout().diff(&self.container_by_id(id)?.layer))
    }
}
