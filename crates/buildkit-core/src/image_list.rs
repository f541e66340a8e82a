//! The images of a store seen together: what each takes up, and which was made from which.
//!
//! No record says which image an image was made from. It shows: the parent's layers are the first
//! of the child's, and so are its steps.

use std::collections::{HashMap, HashSet};

use oci::manifest::ManifestOrIndex;
use oci::{Digest, ImageConfig, ImageId, LayerId};
use store::{Layer, Store};

/// An image and what its record does not say.
#[derive(Clone, Debug)]
pub struct ListedImage {
    /// The record.
    pub record: store::Image,
    /// Its config; none if it can't be read (a manifest list, an image being pulled).
    pub config: Option<ImageConfig>,
    /// Bytes of its layers, uncompressed, and of what is stored beside its record.
    pub size: u64,
}

impl ListedImage {
    /// Whether it has no name.
    pub fn is_nameless(&self) -> bool {
        self.record.names.is_empty()
    }

    /// Whether `self` was made by further steps on `parent`.
    pub(crate) fn is_child_of(&self, parent: &ListedImage) -> bool {
        let (Some(child), Some(config)) = (&self.config, &parent.config) else { return false };
        self.record.id != parent.record.id
            && child.history.len() > config.history.len()
            && child.history.starts_with(&config.history)
            && child.rootfs.diff_ids.starts_with(&config.rootfs.diff_ids)
    }
}

/// All images of a store.
#[derive(Clone, Debug)]
pub struct ImageList {
    images: Vec<ListedImage>,
    layers: HashMap<LayerId, Layer>,
    /// The manifests in the manifest lists of the store.
    in_lists: HashSet<Digest>,
}

impl ImageList {
    /// Reads the records and configs of all images.
    pub fn read(store: &Store) -> Result<ImageList, store::Error> {
        let layers: HashMap<LayerId, Layer> =
            store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
        let mut list = ImageList { images: Vec::new(), layers, in_lists: HashSet::new() };
        for (record, config) in store.images_with_configs()? {
            let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
            let size = list.size(&record);
            if config.is_none()
                && let Ok(manifest) = store.image_manifest(&record.id)
                && let Ok(ManifestOrIndex::Index(index)) = ManifestOrIndex::parse(&manifest, None)
            {
                list.in_lists.extend(index.entries.into_iter().map(|entry| entry.digest));
            }
            list.images.push(ListedImage { record, config, size });
        }
        Ok(list)
    }

    /// The images, in the order of the store's records.
    pub fn iter(&self) -> impl Iterator<Item = &ListedImage> {
        self.images.iter()
    }

    /// The image with this ID.
    pub fn get(&self, id: &ImageId) -> Option<&ListedImage> {
        self.images.iter().find(|image| image.record.id == *id)
    }

    /// Whether images were made by further steps on this one.
    pub fn has_children(&self, image: &ListedImage) -> bool {
        self.images.iter().any(|other| other.is_child_of(image))
    }

    /// Whether it is a step on the way to another image: nameless, with children.
    pub fn is_intermediate(&self, image: &ListedImage) -> bool {
        image.is_nameless() && self.has_children(image)
    }

    /// Whether nothing names or needs it: nameless, without children, in no manifest list.
    pub fn is_dangling(&self, image: &ListedImage) -> bool {
        image.is_nameless() && !self.is_in_list(image) && !self.has_children(image)
    }

    /// Whether a manifest list leads to it.
    pub fn is_in_list(&self, image: &ListedImage) -> bool {
        image.record.digests().into_iter().any(|digest| self.in_lists.contains(digest))
    }

    /// The image it was made from, the nearest one that is there.
    pub fn parent(&self, image: &ListedImage) -> Option<&ListedImage> {
        let steps = |image: &&ListedImage| image.config.as_ref().map_or(0, |config| config.history.len());
        self.images.iter().filter(|other| image.is_child_of(other)).max_by_key(steps)
    }

    /// The layers of an image, top first, as far as they are there.
    pub fn stack<'a>(&'a self, image: &'a store::Image) -> impl Iterator<Item = &'a Layer> {
        let mut next = image.layer.as_ref();
        // A chain can't be longer than there are layers, unless it is a ring.
        (0..self.layers.len()).map_while(move |_| {
            let layer = self.layers.get(next?)?;
            next = layer.parent.as_ref();
            Some(layer)
        })
    }

    fn size(&self, image: &store::Image) -> u64 {
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        let layers: u64 = self.stack(image).map(|layer| bytes(layer.diff_size)).sum();
        let data: u64 = image.big_data.sizes.values().map(|size| bytes(*size)).sum();
        layers + data
    }
}
