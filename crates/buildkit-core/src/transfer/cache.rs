//! Images that are caches of builds: layers that steps made, and a config that tells of the steps.

use std::collections::BTreeMap;

use oci::index::{Entry, EntryPlatform};
use oci::{DiffId, Format, ImageConfig, Index, LayerId, Manifest, Platform};
use store::{Layer, NewLayer, StagedLayer, Store};

use super::into_sink::{CopyOptions, LayerCompression, blobs_into_sink, into_sink, layers_ahead, with_retries};
use super::into_store::{Wanted, stage};
use super::opened::OpenedImage;
use super::place::Places;
use super::workers::Cancel;
use super::{Remotes, TransferError};
use crate::commit::image_manifest;
use crate::event::{Event, Events};
use crate::transport::docker::DockerSource;
use crate::transport::oci_layout::OciSource;
use crate::transport::stored_layers::StoredLayers;
use crate::transport::{Location, Source, SourceLayer};

/// A cache that is open to be read: of its layers nothing was fetched yet.
pub(crate) struct OpenedCache {
    source: Box<dyn Source + Send>,
    config: ImageConfig,
    layers: Vec<SourceLayer>,
}

impl OpenedCache {
    /// Reads manifest and config of the image at `location`; `None` if there is none.
    pub fn open(
        remotes: &Remotes,
        location: &Location,
        platform: &Platform,
        events: Events<'_>,
    ) -> Result<Option<OpenedCache>, TransferError> {
        remotes.allow(location)?;
        let source: Box<dyn Source + Send> = match location {
            Location::Docker(reference) => {
                let warn = |text| events(Event::Warning(text));
                match DockerSource::open(remotes, reference, warn) {
                    Err(TransferError::Registry(error)) if error.is_not_found() => return Ok(None),
                    source => Box::new(source?),
                }
            }
            Location::OciLayout { path, .. } if !path.join("index.json").exists() => return Ok(None),
            Location::OciLayout { path, name } => Box::new(OciSource::open(path, name.as_deref())?),
            other => return Err(TransferError::Unsupported(format!("{other}: a cache cannot be there"))),
        };
        let opened = OpenedImage::open(&*source, platform)?;
        let (config, layers) = (opened.config, opened.layers);
        Ok(Some(OpenedCache { source, config, layers }))
    }

    /// The image's config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The diff ID that the config gives the layer at `index`.
    pub fn diff_id(&self, index: usize) -> Option<&DiffId> {
        self.config.rootfs.diff_ids.get(index)
    }

    /// Fetches the layer at `index`, which is to lie over `parent`. Its digest and its diff ID are checked.
    pub fn stage(
        &self,
        store: &Store,
        index: usize,
        parent: Option<LayerId>,
        events: Events<'_>,
    ) -> Result<(StagedLayer, NewLayer), TransferError> {
        let (Some(layer), Some(diff_id)) = (self.layers.get(index), self.diff_id(index).cloned()) else {
            let reason = format!("it has no layer {index}");
            return Err(TransferError::Inconsistent { name: self.source.name(), reason });
        };
        stage(store, &Wanted { source: &*self.source, layer, parent, diff_id }, &Cancel::default(), events)
    }
}

/// Writes a cache with this config, whose layers are `layers`, to `location`.
pub(crate) fn export(
    places: &Places<'_>,
    location: &Location,
    config: &ImageConfig,
    layers: Vec<Layer>,
    compression: LayerCompression,
) -> Result<Manifest, TransferError> {
    let source = source(places, location, config, layers)?;
    let opened = OpenedImage::open(&source, &config.platform())?;
    let sink = places.sink(location, &[])?;
    into_sink(&opened, &*sink, &copy_options(compression), places.remotes.retry(), places.events)
}

/// The same for an index of the caches of several platforms, which [`export_index`] writes.
pub(crate) fn export_part(
    places: &Places<'_>,
    location: &Location,
    config: &ImageConfig,
    layers: Vec<Layer>,
    compression: LayerCompression,
) -> Result<Entry, TransferError> {
    let source = source(places, location, config, layers)?;
    let opened = OpenedImage::open(&source, &config.platform())?;
    let sink = places.sink(location, &[])?;
    let (retry, options) = (places.remotes.retry(), copy_options(compression));
    let manifest = blobs_into_sink(&opened, &*sink, &options, retry, places.events)?;
    let media_type = manifest.format().manifest();
    with_retries(retry, places.events, || sink.put_instance(media_type, manifest.bytes()))?;
    Ok(Entry::of_manifest(&manifest, Some(EntryPlatform::of_config(config))))
}

/// Writes the index of caches that are at `location`.
pub(crate) fn export_index(places: &Places<'_>, location: &Location, entries: Vec<Entry>) -> Result<(), TransferError> {
    let index = Index { entries, ..Index::default() };
    let invalid = |source| TransferError::Manifest { name: format!("the cache for {location}"), source };
    let bytes = index.to_bytes(Format::Oci).map_err(invalid)?;
    let sink = places.sink(location, &[])?;
    with_retries(places.remotes.retry(), places.events, || sink.put_index(Format::Oci.index(), &bytes))
}

/// Sends one layer of a cache that is to be written to `location` later, until `cancel` is set.
pub(crate) fn send_ahead(
    places: &Places<'_>,
    location: &Location,
    platform: &Platform,
    layer: Layer,
    compression: LayerCompression,
    cancel: &Cancel,
) -> Result<(), TransferError> {
    let mut config = ImageConfig::new(platform);
    config.rootfs.diff_ids.extend(layer.diff_id.clone());
    let source = source(places, location, &config, vec![layer])?;
    let opened = OpenedImage::open(&source, platform)?;
    let sink = places.sink(location, &[])?;
    layers_ahead(&opened, &*sink, &copy_options(compression), cancel, places.events)
}

fn copy_options(compression: LayerCompression) -> CopyOptions {
    CopyOptions { format: Some(Format::Oci), compression }
}

/// The cache, as an image to be copied.
fn source<'s>(
    places: &Places<'s>,
    location: &Location,
    config: &ImageConfig,
    layers: Vec<Layer>,
) -> Result<StoredLayers<'s>, TransferError> {
    let name = format!("the cache for {location}");
    let bytes = config.to_bytes(Format::Oci);
    let sizes: Vec<(DiffId, u64)> = config
        .rootfs
        .diff_ids
        .iter()
        .zip(&layers)
        .map(|(diff_id, layer)| (diff_id.clone(), u64::try_from(layer.diff_size).unwrap_or_default()))
        .collect();
    let manifest = image_manifest(Format::Oci, &bytes, &sizes, &BTreeMap::new())
        .map_err(|source| TransferError::Manifest { name: name.clone(), source })?;
    Ok(StoredLayers::new(places.store, name, manifest, bytes, layers))
}
