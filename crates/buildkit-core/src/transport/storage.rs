//! `containers-storage:NAME`: an image in a store, as a source. As a destination a store is no
//! [`super::Sink`]: layers are unpacked into it, see [`crate::transfer::pull`].

use oci::manifest::digest_of;
use oci::media_type::Compression;
use oci::{DiffId, Digest, Manifest, Reference};
use store::{Layer, Store};

use super::made_blobs;
use super::verified::Verified;
use super::{BlobStream, RawManifest, ReceivedBlob, Source, SourceLayer};
use crate::image::Image;
use crate::transfer::TransferError;

/// An image in a store.
pub struct StorageSource<'s> {
    store: &'s Store,
    image: Image,
    layers: Vec<Layer>,
}

impl<'s> StorageSource<'s> {
    /// The image `name` of `store`.
    pub fn open(store: &'s Store, name: &str) -> Result<StorageSource<'s>, TransferError> {
        StorageSource::of(store, Image::find(store, name)?)
    }

    /// `image`, which is in `store`.
    pub fn of(store: &'s Store, image: Image) -> Result<StorageSource<'s>, TransferError> {
        let layers = match image.top_layer() {
            Some(top) => store.layer_stack(top)?,
            None => Vec::new(),
        };
        Ok(StorageSource { store, image, layers })
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }
}

/// A layer of `store` as the tar that it was unpacked from.
pub(super) fn source_layer(store: &Store, layer: &Layer, diff_id: &DiffId, media_type: &str) -> SourceLayer {
    let DiffId(digest) = diff_id.clone();
    let received = match (&layer.compressed_digest, u64::try_from(layer.compressed_size), layer.compression.known()) {
        (Some(blob), Ok(size), Some(compression)) if *blob != digest && compression != Compression::None => {
            Some(ReceivedBlob { digest: blob.clone(), size, compression, contents: None })
        }
        _ => None,
    };
    let size = u64::try_from(layer.diff_size).ok();
    let made = made_blobs::of(store, &digest);
    SourceLayer { digest, size, media_type: media_type.to_owned(), received, made }
}

impl Source for StorageSource<'_> {
    fn name(&self) -> String {
        self.image.name().to_owned()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        let bytes = match instance {
            None => self.image.manifest().bytes().to_vec(),
            Some(digest) => self.store.image_data(self.image.id(), &format!("manifest-{digest}"))?,
        };
        Ok(RawManifest { bytes, media_type: None })
    }

    /// Layers are kept unpacked, so they are given as the tar that they were unpacked from.
    fn layers(&self, manifest: &Manifest) -> Result<Vec<SourceLayer>, TransferError> {
        let inconsistent = |reason: String| TransferError::Inconsistent { name: self.name(), reason };
        let diff_ids = &self.image.config().rootfs.diff_ids;
        if self.layers.len() != manifest.layers().len() || diff_ids.len() != self.layers.len() {
            return Err(inconsistent(format!(
                "its manifest has {} layers, its config {}, the store {}",
                manifest.layers().len(),
                diff_ids.len(),
                self.layers.len()
            )));
        }
        let media_type = manifest.format().layer(Compression::None);
        let mut layers = Vec::new();
        for (layer, recorded) in self.layers.iter().zip(diff_ids) {
            if layer.diff_id.as_ref().is_some_and(|diff_id| diff_id != recorded) {
                return Err(inconsistent(format!("layer {} is not the one that its config says", layer.id)));
            }
            layers.push(source_layer(self.store, layer, recorded, media_type));
        }
        Ok(layers)
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        if digest_of(self.image.manifest().config()).is_ok_and(|config| config == *digest) {
            return Ok(Box::new(Verified::new(self.image.config_bytes(), self.name(), digest, size)));
        }
        let layer = self
            .layers
            .iter()
            .zip(&self.image.config().rootfs.diff_ids)
            .find_map(|(layer, diff_id)| (diff_id.0 == *digest).then_some(layer))
            .ok_or_else(|| TransferError::Inconsistent {
                name: self.name(),
                reason: format!("it has no layer {digest}"),
            })?;
        // Its files may have been changed behind the store's back.
        let place = format!("layer {} of {}", layer.id, self.name());
        Ok(Box::new(Verified::new(self.store.layer_tar(&layer.id)?, place, digest, size)))
    }

    fn remember(&self, digest: &Digest, blob: &ReceivedBlob) {
        made_blobs::remember(self.store, digest, blob);
    }

    fn store_names(&self) -> Vec<String> {
        self.image.record().names.clone()
    }

    fn repositories_on(&self, domain: &str) -> Vec<String> {
        let record = self.image.record();
        let names = record.names.iter().chain(&record.names_history);
        let mut paths: Vec<String> = names
            .filter_map(|name| Reference::parse_qualified(name).ok())
            .filter(|reference| reference.domain() == domain)
            .map(|reference| reference.path().to_owned())
            .collect();
        paths.sort();
        paths.dedup();
        paths
    }
}
