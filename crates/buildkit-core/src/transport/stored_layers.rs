//! Layers of a store with a config of their own: an image that the store does not have.

use oci::manifest::digest_of;
use oci::media_type::Compression;
use oci::{Digest, Format, Manifest};
use store::{Layer, Store};

use super::storage::source_layer;
use super::verified::Verified;
use super::{BlobStream, RawManifest, ReceivedBlob, Source, SourceLayer, made_blobs};
use crate::transfer::TransferError;

/// Such an image, as a source.
pub(crate) struct StoredLayers<'s> {
    store: &'s Store,
    name: String,
    manifest: Manifest,
    config: Vec<u8>,
    layers: Vec<Layer>,
}

impl<'s> StoredLayers<'s> {
    /// The image with this manifest and config, whose layers are `layers`, in order; errors call it `name`.
    pub fn new(store: &'s Store, name: String, manifest: Manifest, config: Vec<u8>, layers: Vec<Layer>) -> Self {
        StoredLayers { store, name, manifest, config, layers }
    }
}

impl Source for StoredLayers<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn manifest(&self, _instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        Ok(RawManifest { bytes: self.manifest.bytes().to_vec(), media_type: None })
    }

    fn layers(&self, _manifest: &Manifest) -> Result<Vec<SourceLayer>, TransferError> {
        let media_type = Format::Oci.layer(Compression::None);
        let known = self.layers.iter().filter_map(|layer| Some((layer, layer.diff_id.as_ref()?)));
        Ok(known.map(|(layer, diff_id)| source_layer(self.store, layer, diff_id, media_type)).collect())
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        if digest_of(self.manifest.config()).is_ok_and(|config| config == *digest) {
            return Ok(Box::new(Verified::new(self.config.as_slice(), self.name(), digest, size)));
        }
        let is_it = |layer: &&Layer| layer.diff_id.as_ref().is_some_and(|diff_id| diff_id.0 == *digest);
        let layer = self.layers.iter().find(is_it).ok_or_else(|| TransferError::Inconsistent {
            name: self.name(),
            reason: format!("it has no layer {digest}"),
        })?;
        let place = format!("layer {} of {}", layer.id, self.name);
        Ok(Box::new(Verified::new(self.store.layer_tar(&layer.id)?, place, digest, size)))
    }

    fn remember(&self, digest: &Digest, blob: &ReceivedBlob) {
        made_blobs::remember(self.store, digest, blob);
    }

    fn store_names(&self) -> Vec<String> {
        Vec::new()
    }
}
