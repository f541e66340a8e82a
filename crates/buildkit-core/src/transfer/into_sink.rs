//! An image from any source to a place outside the store: layers are compressed on the way if the
//! place or the user wants it, and the manifest says what they became.

use std::io::{self, Write};

use layers::{Compressor, ContentsPlace, Decompressor};
use oci::digest::DigestWriter;
use oci::manifest::{InvalidManifest, descriptor};
use oci::media_type::{self, Compression};
use oci::spec::Descriptor;
use oci::{Digest, Format, Manifest};
use registry::RetryOptions;

use super::TransferError;
use super::gzip::ParallelGzip;
use super::metered::Metered;
use super::opened::OpenedImage;
use super::workers::{self, Cancel};
use crate::event::{Event, Events};
use crate::transport::{BlobStream, LayerForm, ReceivedBlob, Sink, SourceLayer};

const BUFFER: usize = 128 * 1024;
/// Blobs of one layer that a destination is asked for before the layer is sent.
const MAX_QUESTIONS: usize = 4;

/// What becomes of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCompression {
    /// They stay as the source gives them: a store gives them uncompressed.
    Unchanged,
    /// Uncompressed ones are compressed; with `force` also those compressed otherwise.
    Compress {
        /// How.
        format: Compression,
        /// How much; `None` is the format's usual level.
        level: Option<u32>,
        /// Whether layers that have another compression are compressed anew, and with a level all of them.
        force: bool,
    },
}

impl LayerCompression {
    /// Whether new layers are of a kind that only OCI's format has.
    pub(crate) fn needs_oci(self, sink: &dyn Sink) -> bool {
        let zstd =
            matches!(self, LayerCompression::Compress { format: Compression::Zstd | Compression::ZstdChunked, .. });
        zstd && sink.layer_form() == LayerForm::Compressed
    }
}

impl Default for LayerCompression {
    fn default() -> LayerCompression {
        LayerCompression::Compress { format: Compression::Gzip, level: None, force: false }
    }
}

/// How to write an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// The manifest's format; by default the image's own, if the place can hold it.
    pub format: Option<Format>,
    /// What becomes of the layers.
    pub compression: LayerCompression,
}

/// What has to be done to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Copy,
    Convert { from: Compression, to: Compression, level: Option<u32> },
}

/// Writes `image` to `sink` and gives the manifest that it has there.
pub(crate) fn into_sink(
    image: &OpenedImage<'_>,
    sink: &dyn Sink,
    options: &CopyOptions,
    retry: &RetryOptions,
    events: Events<'_>,
) -> Result<Manifest, TransferError> {
    let manifest = blobs_into_sink(image, sink, options, retry, events)?;
    events(Event::WritingManifest);
    with_retries(retry, events, || sink.put_manifest(&manifest))?;
    Ok(manifest)
}

/// Writes all of `image` to `sink` but the manifest, which it gives.
pub(super) fn blobs_into_sink(
    image: &OpenedImage<'_>,
    sink: &dyn Sink,
    options: &CopyOptions,
    retry: &RetryOptions,
    events: Events<'_>,
) -> Result<Manifest, TransferError> {
    let format = choose_format(image, sink, options)?;
    let copied = workers::for_each(&image.layers, |i, layer, cancel| {
        let blob = with_retries(retry, events, || put_layer(image, layer, sink, format, options, cancel, events))?;
        layer_descriptor(image, i, format, &blob)
    })?;
    let config = if format == image.manifest.format() || format == Format::Docker {
        image.config_bytes.clone()
    } else {
        image.config.to_bytes(format)
    };
    let config_digest = Digest::of(&config);
    events(Event::CopyingConfig(config_digest.clone()));
    with_retries(retry, events, || put_bytes(sink, &config, &config_digest))?;
    new_manifest(image, format, &config_digest, config.len() as u64, copied)
}

/// Sends the layers of `image` alone, one after the other, until `cancel` is set: whoever writes an
/// image of them to `sink` later finds them there.
pub(crate) fn layers_ahead(
    image: &OpenedImage<'_>,
    sink: &dyn Sink,
    options: &CopyOptions,
    cancel: &Cancel,
    events: Events<'_>,
) -> Result<(), TransferError> {
    let format = choose_format(image, sink, options)?;
    for layer in &image.layers {
        put_layer(image, layer, sink, format, options, cancel, events)?;
    }
    Ok(())
}

fn choose_format(image: &OpenedImage<'_>, sink: &dyn Sink, options: &CopyOptions) -> Result<Format, TransferError> {
    let zstd = options.compression.needs_oci(sink);
    let offered = sink.formats();
    match options.format {
        Some(Format::Docker) if zstd => Err(TransferError::Unsupported(
            "zstd needs --format oci: Docker v2 schema 2 has no type for such layers".into(),
        )),
        Some(format) if offered.contains(&format) => Ok(format),
        Some(_) => Err(TransferError::Unsupported(format!("{} cannot hold an image of that format", sink.name()))),
        None if zstd && offered.contains(&Format::Oci) => Ok(Format::Oci),
        None if offered.contains(&image.manifest.format()) => Ok(image.manifest.format()),
        None => Ok(offered.first().copied().unwrap_or_default()),
    }
}

fn task(layer: &SourceLayer, form: LayerForm, format: Format, options: &CopyOptions) -> Task {
    let from = media_type::layer_compression(&layer.media_type).unwrap_or_default();
    let convert = |to, level| if from == to { Task::Copy } else { Task::Convert { from, to, level } };
    if form == LayerForm::Uncompressed {
        return convert(Compression::None, None);
    }
    match options.compression {
        LayerCompression::Compress { format: to, level, force } => match from {
            Compression::None => Task::Convert { from, to, level },
            _ if force && level.is_some() => Task::Convert { from, to, level },
            _ if force => convert(to, level),
            // Readers of Docker's format need not know zstd.
            Compression::Zstd if format == Format::Docker => convert(Compression::Gzip, None),
            _ => Task::Copy,
        },
        LayerCompression::Unchanged if from == Compression::Zstd && format == Format::Docker => {
            convert(Compression::Gzip, None)
        }
        LayerCompression::Unchanged => Task::Copy,
    }
}

pub(crate) fn with_retries<T>(
    retry: &RetryOptions,
    events: Events<'_>,
    mut work: impl FnMut() -> Result<T, TransferError>,
) -> Result<T, TransferError> {
    let mut attempt = 0;
    loop {
        match work() {
            Err(error) if error.is_transient() && attempt < retry.count => {
                let wait = retry.wait(attempt);
                events(Event::Warning(format!("{error}: trying again in {} s", wait.as_secs_f32())));
                std::thread::sleep(wait);
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn put_bytes(sink: &dyn Sink, bytes: &[u8], digest: &Digest) -> Result<(), TransferError> {
    if sink.has_blob(digest)? == Some(bytes.len() as u64) {
        return Ok(());
    }
    let mut blob = sink.new_blob()?;
    blob.write_all(bytes).map_err(|error| TransferError::from_stream(error, &sink.name()))?;
    blob.finish(digest, bytes.len() as u64)
}

/// Makes `layer` part of the image at `sink`, of format `format`: the blob that it is there.
fn put_layer(
    image: &OpenedImage<'_>,
    layer: &SourceLayer,
    sink: &dyn Sink,
    format: Format,
    options: &CopyOptions,
    cancel: &Cancel,
    events: Events<'_>,
) -> Result<ReceivedBlob, TransferError> {
    let task = task(layer, sink.layer_form(), format, options);
    let from = media_type::layer_compression(&layer.media_type).unwrap_or_default();
    let usable: Vec<(&Digest, Option<u64>, Compression, &Option<ContentsPlace>)> = match task {
        Task::Copy => vec![(&layer.digest, layer.size, from, &None)],
        Task::Convert { to, level: None, .. } => {
            // Who names no compression is served by any that the format has a type for.
            let any = to != Compression::None
                && format == Format::Oci
                && matches!(options.compression, LayerCompression::Compress { force: false, .. });
            let blobs = layer.received.iter().chain(&layer.made).filter(|blob| any || blob.compression == to);
            let known = blobs.map(|blob| (&blob.digest, Some(blob.size), blob.compression, &blob.contents));
            known.take(MAX_QUESTIONS).collect()
        }
        Task::Convert { .. } => Vec::new(),
    };
    for (digest, size, compression, contents) in usable {
        let there = sink.has_blob(digest)?.filter(|found| size.is_none_or(|size| size == *found));
        let there = match (there, size) {
            (Some(found), _) => Some(found),
            (None, Some(size)) if sink.mount_blob(digest, image.source)? => Some(size),
            _ => None,
        };
        if let Some(size) = there {
            events(Event::BlobExists(digest.clone()));
            return Ok(ReceivedBlob { digest: digest.clone(), size, compression, contents: contents.clone() });
        }
    }
    events(Event::CopyingBlob(layer.digest.clone()));
    let what = format!("layer {} of {}", layer.digest, image.name());
    let stream = image.source.blob(&layer.digest, layer.size)?;
    let stream = Metered::new(cancel.guard(stream), &layer.digest, layer.size, events);
    let stream: BlobStream<'_> = Box::new(stream);
    let blob = DigestWriter::new(sink.new_blob()?);
    let broken = |error: io::Error| TransferError::from_stream(error, &what);
    let (blob, contents, compression) = match task {
        Task::Copy => (pump(stream, blob).map_err(broken)?, None, from),
        Task::Convert { from: _, to, level } => {
            let (blob, contents) = convert(stream, blob, to, level).map_err(broken)?;
            (blob, contents, to)
        }
    };
    let (digest, size, sent) = blob.finish();
    if task == Task::Copy && digest.algorithm() == layer.digest.algorithm() && digest != layer.digest {
        let reason = format!("it was read as {digest}");
        return Err(TransferError::Layer { name: image.name(), layer: layer.digest.clone(), reason });
    }
    sent.finish(&digest, size)?;
    let blob = ReceivedBlob { digest, size, compression, contents };
    if matches!(task, Task::Convert { from: Compression::None, level: None, .. }) && compression != Compression::None {
        image.source.remember(&layer.digest, &blob);
    }
    let received = layer.received.as_ref().filter(|received| received.compression == compression);
    if let Some(received) = received.filter(|received| received.digest != blob.digest) {
        events(Event::Info(format!(
            "layer {} was received as blob {} and is now blob {}, with the same content",
            layer.digest, received.digest, blob.digest
        )));
    }
    Ok(blob)
}

pub(super) fn pump<W: Write>(mut stream: impl io::Read, mut out: W) -> io::Result<W> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(out),
            Ok(n) => out.write_all(buffer.get(..n).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn convert<W: Write>(
    mut stream: impl io::Read + Send,
    out: W,
    to: Compression,
    level: Option<u32>,
) -> io::Result<(W, Option<ContentsPlace>)> {
    let tar = Decompressor::new(&mut stream)?;
    let simple = |tar, out, to| pump(tar, Compressor::new(out, to, level)?)?.finish();
    let (out, contents) = match to {
        Compression::None => (simple(tar, out, layers::Compression::None)?, None),
        Compression::Gzip => (pump(tar, ParallelGzip::new(out, level)?)?.finish()?, None),
        Compression::Zstd => (simple(tar, out, layers::Compression::Zstd)?, None),
        Compression::ZstdChunked => {
            let (out, contents) = layers::compress_chunked(tar, out, level)?;
            (out, Some(contents))
        }
    };
    // The end of the stream is where its digest is checked.
    io::copy(&mut stream, &mut io::sink())?;
    Ok((out, contents))
}

/// The descriptor of layer `i` as it is at the destination; what else the image's own manifest
/// says of the layer is kept if the blob is the same.
fn layer_descriptor(
    image: &OpenedImage<'_>,
    i: usize,
    format: Format,
    blob: &ReceivedBlob,
) -> Result<Descriptor, TransferError> {
    let invalid = |source: InvalidManifest| TransferError::Manifest { name: image.name(), source };
    let mut new = descriptor(format.layer(blob.compression), &blob.digest, blob.size).map_err(invalid)?;
    if let Some(contents) = &blob.contents {
        let annotations = contents.annotations().map(|(name, value)| (name.to_owned(), value));
        new.set_annotations(Some(annotations.into_iter().collect()));
    }
    match image.manifest.layers().get(i) {
        Some(old) if old.digest() == new.digest() && old.size() == new.size() => {
            let mut kept = old.clone();
            kept.set_media_type(new.media_type().clone());
            Ok(kept)
        }
        _ => Ok(new),
    }
}

/// The image's own manifest if it is true of the copy, else a new one.
fn new_manifest(
    image: &OpenedImage<'_>,
    format: Format,
    config: &Digest,
    config_size: u64,
    layers: Vec<Descriptor>,
) -> Result<Manifest, TransferError> {
    let own = &image.manifest;
    let same_config = own.config().digest().as_ref() == config.to_string();
    if format == own.format() && same_config && layers.as_slice() == own.layers() {
        return Ok(own.clone());
    }
    let invalid = |source: InvalidManifest| TransferError::Manifest { name: image.name(), source };
    let config = descriptor(format.config(), config, config_size).map_err(invalid)?;
    Manifest::build(format, config, layers, &own.annotations()).map_err(invalid)
}
