//! Image records: creation, names and deletion.

use jiff::Timestamp;
use oci::{Digest, ImageId, LayerId};
use serde_json::{Map, Value};

use crate::deletion::unused_layers;
use crate::image_data::{BigData, StagedImage};
use crate::journal::{Entry, Purpose};
use crate::staging::remove_tree;
use crate::table::Writing;
use crate::{BigDataIndex, Error, Image, Result, Store};

/// The item that holds an image's manifest.
pub(crate) const MANIFEST: &str = "manifest";

/// An image to be recorded.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its ID.
    pub id: ImageId,
    /// Full references; who has them loses them.
    pub names: Vec<String>,
    /// The top layer.
    pub layer: Option<LayerId>,
    /// Digest of the manifest.
    pub digest: Option<Digest>,
    /// JSON text with the sizes of signatures.
    pub metadata: String,
    /// What is stored beside the record, in this order.
    pub data: Vec<BigData>,
    /// The config's creation time.
    pub created: Timestamp,
}

impl NewImage {
    /// The image of `config` and `manifest`, with the items that the other tools look for. The ID
    /// is the config's digest; there are no names yet, and `created` is the config's if it can be
    /// read, else now.
    pub fn new(config: Vec<u8>, manifest: Vec<u8>, layer: Option<LayerId>) -> NewImage {
        let digest = Digest::of(&manifest);
        let id = ImageId::of_config(&config);
        let created = oci::ImageConfig::parse(&config).ok().and_then(|config| config.created);
        let signatures: Map<String, Value> = [(digest.to_string(), Value::Array(Vec::new()))].into_iter().collect();
        let data = vec![
            BigData { key: format!("sha256:{id}"), bytes: config },
            BigData { key: format!("manifest-{digest}"), bytes: manifest.clone() },
            BigData { key: MANIFEST.into(), bytes: manifest },
            BigData { key: format!("signature-{}", digest.hex()), bytes: Vec::new() },
        ];
        NewImage {
            id,
            names: Vec::new(),
            layer,
            metadata: serde_json::json!({ "signatures-sizes": signatures }).to_string(),
            digest: Some(digest),
            data,
            created: created.unwrap_or_else(Timestamp::now),
        }
    }

    /// The same with the manifest list through which the image was chosen.
    pub fn with_index(mut self, index: Vec<u8>) -> NewImage {
        let key = format!("manifest-{}", Digest::of(&index));
        self.data.insert(1.min(self.data.len()), BigData { key, bytes: index });
        self
    }

    /// The same with these names.
    pub fn with_names(mut self, names: Vec<String>) -> NewImage {
        self.names = names;
        self
    }
}

/// What [`Store::delete_image`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedImage {
    /// The names it had.
    pub names: Vec<String>,
    /// The layers that went with it, top first.
    pub layers: Vec<LayerId>,
}

impl Store {
    /// Records an image, all of it at once. If an image with its ID exists, the items are
    /// overwritten and the names added. The names are taken from the images that have them.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] if the top layer is not (or no longer) in the store,
    /// [`Error::OtherLayer`] if the image exists with another one.
    pub fn create_image(&self, image: NewImage) -> Result<Image> {
        let staged = StagedImage::new(self, image)?;
        self.journalled(|journal| {
            // Held to the end: it keeps the top layer from being deleted.
            let layers = self.read_layers()?;
            let mut images = self.inner.images.write()?;
            if let Some(id) = &staged.image.layer
                && self.locate(&layers.table, id)?.is_none()
            {
                return Err(Error::UnknownLayer { id: id.clone() });
            }
            check_image(&images, &staged)?;
            journal.write(&Entry { images: vec![staged.image.id.clone()], ..Entry::default() }, Purpose::Add)?;
            self.record_image(&mut images, &staged)
        })
    }

    /// Enters a staged image into the table and saves it.
    pub(crate) fn record_image(&self, images: &mut Writing<'_, Image>, staged: &StagedImage) -> Result<Image> {
        let new = &staged.image;
        let id = new.id.as_str();
        staged.place(self, images.get(id).is_none())?;
        if images.get(id).is_none() {
            images.push(Image {
                id: new.id.clone(),
                digest: None,
                names: Vec::new(),
                names_history: Vec::new(),
                layer: new.layer.clone(),
                mapped_layers: Vec::new(),
                metadata: String::new(),
                big_data: BigDataIndex::default(),
                created: new.created,
                flags: Map::new(),
                unknown: Map::new(),
                read_only: false,
            });
        }
        if let Some(record) = images.get_mut(id) {
            staged.index(&mut record.big_data);
            record.metadata.clone_from(&new.metadata);
            record.digest = new.digest.clone().or_else(|| record.digest.take());
        }
        let mut names = images.get(id).map(|record| record.names.clone()).unwrap_or_default();
        names.extend(new.names.iter().cloned());
        if names.is_empty() {
            self.claim_image(&new.id)?;
        }
        give_names(images, id, names);
        images.save()?;
        images.get(id).cloned().ok_or_else(|| Error::UnknownImage { name: id.to_owned() })
    }

    /// Gives the image exactly these names; they are taken from the images that have them.
    pub fn set_image_names(&self, id: &ImageId, names: &[String]) -> Result<()> {
        self.change_names(id, |_| names.to_vec())
    }

    /// Adds names, which are taken from the images that have them.
    pub fn add_image_names(&self, id: &ImageId, names: &[String]) -> Result<()> {
        self.change_names(id, |own| own.iter().chain(names).cloned().collect())
    }

    /// Removes those of `names` that the image has.
    pub fn remove_image_names(&self, id: &ImageId, names: &[String]) -> Result<()> {
        self.change_names(id, |own| own.iter().filter(|name| !names.contains(name)).cloned().collect())
    }

    fn change_names(&self, id: &ImageId, change: impl FnOnce(&[String]) -> Vec<String>) -> Result<()> {
        let mut images = self.inner.images.write()?;
        let Some(record) = images.get(id.as_str()) else {
            drop(images);
            // Of a read-only store, or unknown.
            let image = self.image_by_id(id)?;
            return Err(Error::ReadOnly { id: image.id.to_string() });
        };
        let names = change(&record.names);
        give_names(&mut images, id.as_str(), names);
        images.use_reserve();
        images.save()
    }

    /// Removes the image and the layers that nothing else uses.
    ///
    /// # Errors
    /// [`Error::ImageInUse`] if a container is based on it, [`Error::ReadOnly`] if it is in an
    /// additional store.
    pub fn delete_image(&self, id: &ImageId) -> Result<DeletedImage> {
        self.delete_image_if(id, |_| Ok(true))?.ok_or_else(|| Error::UnknownImage { name: id.to_string() })
    }

    /// The same if `may_go` says so, which is asked under the locks.
    pub(crate) fn delete_image_if(
        &self,
        id: &ImageId,
        may_go: impl FnOnce(&Image) -> Result<bool>,
    ) -> Result<Option<DeletedImage>> {
        let trash = self.trash();
        self.journalled(|journal| {
            let mut layers = self.write_layers()?;
            let mut images = self.inner.images.write()?;
            let containers = self.inner.containers.read()?;
            let Some(image) = images.get(id.as_str()).cloned() else {
                drop(images);
                let image = self.image_by_id(id)?;
                return Err(Error::ReadOnly { id: image.id.to_string() });
            };
            if !may_go(&image)? {
                return Ok(None);
            }
            let users: Vec<_> =
                containers.table.iter().filter(|c| c.image.as_ref() == Some(id)).map(|c| c.id.clone()).collect();
            if !users.is_empty() {
                return Err(Error::ImageInUse { image: id.clone(), containers: users });
            }
            let tops = image.mapped_layers.iter().chain(&image.layer).cloned();
            let unused = unused_layers(&layers, &images, Some(id), &containers.table, tops);
            journal.write(
                &Entry {
                    layers: unused.clone(),
                    unneeded: unused.clone(),
                    images: vec![id.clone()],
                    ..Entry::default()
                },
                Purpose::Remove,
            )?;
            images.remove(id.as_str());
            images.use_reserve();
            images.save()?;
            remove_tree(&self.layout().image_dir(id))?;
            if !unused.is_empty() {
                self.remove_layers(&mut layers, &unused, trash.as_ref())?;
            }
            Ok(Some(DeletedImage { names: image.names, layers: unused }))
        })
    }
}

/// # Errors
/// An image with the ID exists and stands for other layers.
pub(crate) fn check_image(images: &Writing<'_, Image>, staged: &StagedImage) -> Result<()> {
    let new = &staged.image;
    match images.get(new.id.as_str()) {
        Some(record) if record.layer != new.layer => Err(Error::OtherLayer {
            image: new.id.clone(),
            existing: record.layer.as_ref().map_or("none".to_owned(), LayerId::to_string),
        }),
        _ => Ok(()),
    }
}

/// Makes `names` those of the image `id`, and enters new ones into its history.
fn give_names(images: &mut Writing<'_, Image>, id: &str, mut names: Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if images.get(id).is_some_and(|record| record.names == names) {
        return;
    }
    images.take_names(&names);
    if let Some(record) = images.get_mut(id) {
        for name in &names {
            if !record.names_history.contains(name) {
                record.names_history.insert(0, name.clone());
            }
        }
        record.names = names;
    }
}
