//! A manifest of an index to a place, with all that it names. An image's layers may be compressed on
//! the way, which makes another manifest; anything else goes as it is.

use oci::manifest::{ManifestOrIndex, digest_of};
use oci::media_type::{self, Compression};
use oci::spec::Descriptor;
use oci::{Digest, Manifest};
use registry::RetryOptions;

use super::TransferError;
use super::into_sink::{CopyOptions, blobs_into_sink, pump, with_retries};
use super::metered::Metered;
use super::opened::{OpenedImage, check, parse};
use crate::event::{Event, Events};
use crate::transport::{RawManifest, Sink, Source};

/// A manifest as it is at its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// Whether it is an image, and not something else that a manifest may describe.
    pub is_image: bool,
    /// Whether only readers of zstd can use it.
    pub has_zstd: bool,
}

/// Writes the manifest `digest` of `source` to `sink`.
pub(crate) fn copy_instance(
    source: &dyn Source,
    digest: &Digest,
    sink: &dyn Sink,
    options: &CopyOptions,
    retry: &RetryOptions,
    events: Events<'_>,
) -> Result<Instance, TransferError> {
    let name = source.name();
    let manifest = match parse(&name, &read(source, digest)?)? {
        ManifestOrIndex::Manifest(manifest) => manifest,
        ManifestOrIndex::Index(_) => {
            return Err(TransferError::Unsupported(format!("{name}: {digest} is a list of images within a list")));
        }
    };
    let is_image = is_image(&manifest);
    let manifest = match is_image {
        true => blobs_into_sink(&OpenedImage::of(source, manifest)?, sink, options, retry, events)?,
        false => {
            for descriptor in std::iter::once(manifest.config()).chain(manifest.layers()) {
                with_retries(retry, events, || copy_blob(source, descriptor, sink, events))?;
            }
            manifest
        }
    };
    events(Event::WritingManifest);
    let media_type = manifest.format().manifest();
    with_retries(retry, events, || sink.put_instance(media_type, manifest.bytes()))?;
    let of_zstd =
        |layer: &Descriptor| media_type::layer_compression(layer.media_type().as_ref()) == Some(Compression::Zstd);
    Ok(Instance {
        media_type: media_type.to_owned(),
        digest: manifest.digest(),
        size: manifest.bytes().len() as u64,
        is_image,
        has_zstd: manifest.layers().iter().any(of_zstd),
    })
}

/// The manifest `digest`, which may be the only one of `source` or one of several.
pub(crate) fn read(source: &dyn Source, digest: &Digest) -> Result<RawManifest, TransferError> {
    let first = source.manifest(None)?;
    if check(&source.name(), digest, first.bytes.len() as u64, &first.bytes).is_ok() {
        return Ok(first);
    }
    let raw = source.manifest(Some(digest))?;
    check(&source.name(), digest, raw.bytes.len() as u64, &raw.bytes)?;
    Ok(raw)
}

/// Whether `manifest` is of an image that tools can unpack.
pub(crate) fn is_image(manifest: &Manifest) -> bool {
    let is_layer = |layer: &Descriptor| media_type::layer_compression(layer.media_type().as_ref()).is_some();
    manifest.artifact_type().is_none()
        && matches!(manifest.config().media_type().as_ref(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG)
        && manifest.layers().iter().all(is_layer)
}

fn copy_blob(
    source: &dyn Source,
    descriptor: &Descriptor,
    sink: &dyn Sink,
    events: Events<'_>,
) -> Result<(), TransferError> {
    let digest =
        digest_of(descriptor).map_err(|error| TransferError::Manifest { name: source.name(), source: error })?;
    let size = descriptor.size();
    if sink.has_blob(&digest)? == Some(size) || sink.mount_blob(&digest, source)? {
        events(Event::BlobExists(digest));
        return Ok(());
    }
    events(Event::CopyingBlob(digest.clone()));
    let stream = Metered::new(source.blob(&digest, Some(size))?, &digest, Some(size), events);
    let blob = pump(stream, sink.new_blob()?)
        .map_err(|error| TransferError::from_stream(error, &format!("blob {digest} of {}", source.name())))?;
    blob.finish(&digest, size)
}
