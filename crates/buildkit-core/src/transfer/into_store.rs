//! An image from any source into the store. Each layer passes once: received, verified,
//! decompressed, hashed, unpacked into a staged layer. Nothing is visible before all is there.

use std::io;

use jiff::Timestamp;
use layers::{ApplyError, ApplyOptions, Decompressor, TarError};
use oci::media_type::Compression;
use oci::{DiffId, ImageId, LayerId};
use rootfs::Root;
use store::{NewImage, NewLayer, StagedLayer, Store};

use super::TransferError;
use super::metered::Metered;
use super::opened::OpenedImage;
use super::workers::{self, Cancel};
use crate::event::{Event, Events};
use crate::transport::{BlobStream, Source, SourceLayer, TransportError};

/// A layer that is to be in the store.
pub(super) struct Wanted<'a> {
    pub source: &'a dyn Source,
    pub layer: &'a SourceLayer,
    pub parent: Option<LayerId>,
    pub diff_id: DiffId,
}

/// Stores `image` with `names` and gives its ID.
pub(crate) fn into_store(
    store: &Store,
    image: &OpenedImage<'_>,
    names: &[String],
    events: Events<'_>,
) -> Result<ImageId, TransferError> {
    match store_once(store, image, names, events) {
        // A layer that we meant to build on was removed meanwhile: it has to be fetched after all.
        Err(TransferError::Store(store::Error::UnknownLayer { .. })) => store_once(store, image, names, events),
        other => other,
    }
}

fn store_once(
    store: &Store,
    image: &OpenedImage<'_>,
    names: &[String],
    events: Events<'_>,
) -> Result<ImageId, TransferError> {
    let mut wanted = Vec::new();
    let mut parent: Option<LayerId> = None;
    for (layer, diff_id) in image.layers.iter().zip(&image.config.rootfs.diff_ids) {
        let id = LayerId::of(parent.as_ref(), diff_id);
        match store.layer(&id) {
            Ok(_) => events(Event::BlobExists(layer.digest.clone())),
            Err(error) if error.is_not_found() => {
                let (source, diff_id) = (image.source, diff_id.clone());
                wanted.push(Wanted { source, layer, parent: parent.clone(), diff_id });
            }
            Err(error) => return Err(error.into()),
        }
        parent = Some(id);
    }
    let staged = workers::for_each(&wanted, |_, wanted, cancel| stage(store, wanted, cancel, events))?;
    events(Event::CopyingConfig(oci::Digest::of(&image.config_bytes)));
    events(Event::WritingManifest);
    let mut new = NewImage::new(image.config_bytes.clone(), image.manifest.bytes().to_vec(), parent);
    if let Some(index) = &image.index {
        new = new.with_index(index.clone());
    }
    new.names = names.to_vec();
    new.created = image.config.created.unwrap_or_else(Timestamp::now);
    let id = new.id.clone();
    store.publish(&staged, vec![new])?;
    Ok(id)
}

/// Receives a layer, or copies one that has the same tar.
pub(super) fn stage(
    store: &Store,
    wanted: &Wanted<'_>,
    cancel: &Cancel,
    events: Events<'_>,
) -> Result<(StagedLayer, NewLayer), TransferError> {
    let layer = wanted.layer;
    // The same tar may be in the store over another parent.
    for known in store.layers_by_diff_id(&wanted.diff_id)? {
        let copied = store
            .layer_tar(&known.id)
            .map_err(TransferError::from)
            .and_then(|tar| unpack(store, wanted, Box::new(cancel.guard(tar))));
        match copied {
            Ok((staged, unpacked)) => {
                events(Event::BlobExists(layer.digest.clone()));
                return Ok((staged, unpacked.record));
            }
            Err(error) => events(Event::Debug(format!("layer {} cannot be copied: {error}", known.id))),
        }
    }
    events(Event::CopyingBlob(layer.digest.clone()));
    let stream = wanted.source.blob(&layer.digest, layer.size)?;
    let stream = Metered::new(cancel.guard(stream), &layer.digest, layer.size, events);
    let (staged, unpacked) = unpack(store, wanted, Box::new(stream))?;
    let mut record = unpacked.record;
    if let Some(compression) = unpacked.compression.filter(|compression| *compression != Compression::None) {
        record.compressed_digest = layer.digest.clone();
        record.compressed_size = unpacked.received;
        record.compression = compression;
    } else if let Some(received) = &layer.received {
        // From another store, which knows the blob that the layer came as.
        record.compressed_digest = received.digest.clone();
        record.compressed_size = received.size;
        record.compression = received.compression;
    }
    Ok((staged, record))
}

struct Unpacked {
    record: NewLayer,
    /// `None` for a compression that records have no word for here.
    compression: Option<Compression>,
    received: u64,
}

/// Unpacks `stream`, which is verified against its digest when it is read to its end.
fn unpack(
    store: &Store,
    wanted: &Wanted<'_>,
    stream: BlobStream<'_>,
) -> Result<(StagedLayer, Unpacked), TransferError> {
    let (digest, name) = (wanted.layer.digest.clone(), wanted.source.name());
    let what = format!("layer {digest} of {name}");
    let failed = |reason: String| TransferError::Layer { name: name.clone(), layer: digest.clone(), reason };
    let mut counted = Counted { inner: stream, count: 0 };
    let staged = store.stage_layer()?;
    let into = Root::open(staged.diff_dir()).map_err(|error| failed(error.to_string()))?;
    let mut tar = Decompressor::new(&mut counted).map_err(|error| TransferError::from_stream(error, &what))?;
    let compression = match tar.compression() {
        layers::Compression::None => Some(Compression::None),
        layers::Compression::Gzip => Some(Compression::Gzip),
        layers::Compression::Zstd => Some(Compression::Zstd),
        layers::Compression::Bzip2 | layers::Compression::Xz => None,
    };
    let applied = layers::apply(&mut tar, &into, staged.tar_split_file()?, &ApplyOptions::default());
    drop(tar);
    let summary = match applied {
        Ok(summary) => summary,
        Err(error) => {
            let error = match error {
                ApplyError::Tar(TarError::Read(error)) => TransferError::from_stream(error, &what),
                other => failed(other.to_string()),
            };
            // Damaged bytes break their decompression before their digest is seen to be wrong,
            // which is what there is to be said of them.
            return Err(match error {
                TransferError::Layer { .. } | TransferError::Transport(TransportError::Io { .. }) => {
                    match io::copy(&mut counted, &mut io::sink()) {
                        Ok(_) => error,
                        Err(cause) => match TransferError::from_stream(cause, &what) {
                            TransferError::Transport(TransportError::Io { .. }) => error,
                            cause => cause,
                        },
                    }
                }
                other => other,
            });
        }
    };
    // What follows the compressed stream counts for the digest too, and the end is where it is checked.
    io::copy(&mut counted, &mut io::sink()).map_err(|error| TransferError::from_stream(error, &what))?;
    if summary.diff_id != wanted.diff_id {
        return Err(TransferError::WrongDiffId {
            name,
            layer: digest,
            expected: wanted.diff_id.0.clone(),
            actual: summary.diff_id.0,
        });
    }
    let record = NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(wanted.parent.clone(), summary.diff_id, summary.size)
    };
    Ok((staged, Unpacked { record, compression, received: counted.count }))
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count += n as u64;
        Ok(n)
    }
}
