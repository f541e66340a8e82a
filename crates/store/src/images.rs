//! Images: look-up, creation, names and deletion.

use jiff::Timestamp;
use oci::{Digest, ImageId, LayerId};

use crate::{Image, Result, Store};

/// An item stored beside an image's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigData {
    /// `manifest`, `manifest-sha256:…`, `sha256:…` (the config), `signature-…`
    pub key: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// An image to be recorded.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its ID.
    pub id: ImageId,
    /// Full references; who had them loses them.
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
    /// is the config's digest; there are no names yet, and `created` is now.
    pub fn new(config: Vec<u8>, manifest: Vec<u8>, layer: Option<LayerId>) -> NewImage {
        todo!("{config:?}{manifest:?}{layer:?}")
    }

    /// The same with the manifest list through which the image was chosen.
    pub fn with_index(self, index: Vec<u8>) -> NewImage {
        todo!("{index:?}")
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
    /// All images, those of read-only stores last.
    pub fn images(&self) -> Result<Vec<Image>> {
        todo!()
    }

    /// The image that a user means by `text`: an exact ID; a name as it is stored, or as
    /// [`oci::Reference`] completes it (`localhost/` first, then `docker.io/`, then the only one
    /// with this path and tag); `name@digest`; an unambiguous beginning of an ID.
    ///
    /// # Errors
    /// [`crate::Error::UnknownImage`] or [`crate::Error::Ambiguous`].
    pub fn image(&self, text: &str) -> Result<Image> {
        todo!("{text}")
    }

    /// The image with exactly this ID.
    pub fn image_by_id(&self, id: &ImageId) -> Result<Image> {
        todo!("{id}")
    }

    /// The image with exactly this full reference among its names, if there is one.
    pub fn image_by_name(&self, name: &str) -> Result<Option<Image>> {
        todo!("{name}")
    }

    /// An item stored beside an image's record.
    ///
    /// # Errors
    /// [`crate::Error::NoData`] if the image has no such item.
    pub fn image_data(&self, id: &ImageId, key: &str) -> Result<Vec<u8>> {
        todo!("{id}{key}")
    }

    /// The image's config, as stored.
    pub fn image_config(&self, id: &ImageId) -> Result<Vec<u8>> {
        self.image_data(id, &format!("sha256:{id}"))
    }

    /// The image's manifest, as stored.
    pub fn image_manifest(&self, id: &ImageId) -> Result<Vec<u8>> {
        self.image_data(id, "manifest")
    }

    /// Records an image, all of it at once. If an image with its ID exists, the items are
    /// overwritten and the names added. The names are taken from the images that have them.
    ///
    /// # Errors
    /// [`crate::Error::UnknownLayer`] if the top layer is not (or no longer) in the store,
    /// [`crate::Error::OtherLayer`].
    pub fn create_image(&self, image: NewImage) -> Result<Image> {
        todo!("{image:?}")
    }

    /// Gives the image exactly these names.
    pub fn set_image_names(&self, id: &ImageId, names: &[String]) -> Result<()> {
        todo!("{id}{names:?}")
    }

    /// Adds names, which are taken from the images that have them.
    pub fn add_image_names(&self, id: &ImageId, names: &[String]) -> Result<()> {
        todo!("{id}{names:?}")
    }

    /// Removes those of `names` that the image has.
    pub fn remove_image_names(&self, id: &ImageId, names: &[String]) -> Result<()> {
        todo!("{id}{names:?}")
    }

    /// Removes the image and the layers that nothing else uses.
    ///
    /// # Errors
    /// [`crate::Error::ImageInUse`] if a container is based on it.
    pub fn delete_image(&self, id: &ImageId) -> Result<DeletedImage> {
        todo!("{id}")
    }
}
