//! A list to any transport: each of its images, then the index of what they became there.

use std::collections::HashSet;

use oci::index::{Entry, EntryPlatform, ZSTD};
use oci::media_type::Compression;
use oci::{Digest, Format, Index, Platform};

use super::{ListError, ManifestList, format_of};
use crate::event::Event;
use crate::image::Image;
use crate::transfer::instance::{Instance, copy_instance};
use crate::transfer::into_sink::with_retries;
use crate::transfer::place::Places;
use crate::transfer::{CopyOptions, LayerCompression, TransferError};
use crate::transport::location::Location;
use crate::transport::storage::StorageSource;
use crate::transport::{Sink, Source};

/// How to push a list.
#[derive(Clone, Debug, Default)]
pub struct ListPushOptions {
    /// Format and compression of the images.
    pub copy: CopyOptions,
    /// Whether the images are not sent: the place has them.
    pub index_only: bool,
    /// Each image is to be there in these compressions too.
    pub add_compression: Vec<Compression>,
}

/// What was pushed.
#[derive(Clone, Debug)]
pub struct PushedList {
    /// The index as it is at the destination.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub media_type: &'static str,
    /// Its digest.
    pub digest: Digest,
}

/// Pushes `list` to `location`.
pub fn push(
    list: &ManifestList,
    places: &Places<'_>,
    location: &Location,
    options: &ListPushOptions,
) -> Result<PushedList, ListError> {
    let reason = match location {
        Location::Storage { .. } => Some("a list is not pushed to a store: add its images to a list there"),
        Location::DockerArchive { .. } => Some("an archive of this kind cannot hold a list of images"),
        _ => None,
    };
    if let Some(reason) = reason {
        return Err(TransferError::Unsupported(format!("{location}: {reason}")).into());
    }
    let sink = places.sink(location, &[])?;
    let sink = &*sink;
    let format = choose_format(list, sink, options)?;
    let mut index = list.index.clone();
    if !options.index_only {
        copy_images(list, places, sink, options, &mut index)?;
    }
    let invalid = |source| ListError::Manifest { name: list.name.clone(), source };
    let is_as_stored = !list.stored.is_empty() && index == list.index && format == format_of(&list.stored);
    let bytes = match is_as_stored {
        // As it is, to the byte: its digest may be known elsewhere.
        true => list.stored.clone(),
        false => index.to_bytes(format).map_err(invalid)?,
    };
    (places.events)(Event::WritingManifest);
    with_retries(places.remotes.retry(), places.events, || sink.put_index(format.index(), &bytes))?;
    Ok(PushedList { digest: Digest::of(&bytes), media_type: format.index(), bytes })
}

/// Copies the images of `list`, and enters into `index` what they became.
fn copy_images(
    list: &ManifestList,
    places: &Places<'_>,
    sink: &dyn Sink,
    options: &ListPushOptions,
    index: &mut Index,
) -> Result<(), ListError> {
    let all = list.index.entries.len();
    let mut images = Vec::new();
    for (i, (entry, new)) in list.index.entries.iter().zip(&mut index.entries).enumerate() {
        (places.events)(Event::CopyingImage { digest: entry.digest.clone(), position: (i + 1, all) });
        let copied = copy(list, places, entry, sink, &options.copy)?;
        enter(new, &copied);
        if copied.is_image {
            images.push((entry, compression(&copied)));
        }
    }
    let mut there: HashSet<(Key, Compression)> =
        images.iter().map(|(entry, compression)| (key(entry), *compression)).collect();
    let mut variants = Vec::new();
    for (entry, _) in &images {
        for &format in &options.add_compression {
            if there.insert((key(entry), format)) {
                let compression = LayerCompression::Compress { format, level: None, force: true };
                let copy_options = CopyOptions { compression, ..options.copy.clone() };
                let mut variant = (*entry).clone();
                variant.annotations.remove(ZSTD);
                enter(&mut variant, &copy(list, places, entry, sink, &copy_options)?);
                variants.push(variant);
            }
        }
    }
    if !variants.is_empty() {
        index.entries.extend(variants);
        // Who does not know the compression takes the first that fits.
        index.entries.sort_by_key(|entry| entry.annotations.contains_key(ZSTD));
    }
    Ok(())
}

/// What tells variants of an image from other images.
type Key = (Platform, String, Vec<String>);

fn key(entry: &Entry) -> Key {
    let platform: EntryPlatform = entry.platform.clone().unwrap_or_default();
    (platform.platform(), platform.os_version, platform.os_features)
}

fn compression(copied: &Instance) -> Compression {
    if copied.has_zstd { Compression::Zstd } else { Compression::Gzip }
}

fn enter(entry: &mut Entry, copied: &Instance) {
    entry.media_type.clone_from(&copied.media_type);
    entry.digest.clone_from(&copied.digest);
    entry.size = copied.size;
    if copied.has_zstd {
        entry.annotations.insert(ZSTD.to_owned(), "true".to_owned());
    }
}

fn choose_format(list: &ManifestList, sink: &dyn Sink, options: &ListPushOptions) -> Result<Format, TransferError> {
    let offered = sink.formats();
    let zstd = options.copy.compression.needs_oci(sink)
        || options.add_compression.iter().any(|format| *format != Compression::Gzip);
    match options.copy.format {
        Some(Format::Docker) if zstd => Err(TransferError::Unsupported(
            "zstd needs --format oci: Docker v2 schema 2 has no type for such layers".into(),
        )),
        Some(format) if offered.contains(&format) => Ok(format),
        Some(_) => Err(TransferError::Unsupported(format!("{} cannot hold an image of that format", sink.name()))),
        None if zstd && offered.contains(&Format::Oci) => Ok(Format::Oci),
        None => {
            let own = if list.stored.is_empty() { list.index.format() } else { format_of(&list.stored) };
            Ok(if offered.contains(&own) { own } else { offered.first().copied().unwrap_or_default() })
        }
    }
}

/// Copies what `entry` names, from wherever it is.
fn copy(
    list: &ManifestList,
    places: &Places<'_>,
    entry: &Entry,
    sink: &dyn Sink,
    options: &CopyOptions,
) -> Result<Instance, ListError> {
    let digest = &entry.digest;
    let copy =
        |source: &dyn Source| copy_instance(source, digest, sink, options, places.remotes.retry(), places.events);
    if let Some(artifact) = list.artifacts.source(digest) {
        return Ok(copy(&artifact)?);
    }
    let location = list.instances.get(&digest.to_string()).map(|text| Location::parse(text)).transpose()?.flatten();
    match location {
        Some(location) if !matches!(location, Location::Storage { .. }) => Ok(places.with_source(&location, copy)?),
        location => match (Image::with_digest(places.store, &digest.to_string(), digest)?, location) {
            (Some(image), _) => Ok(copy(&StorageSource::of(places.store, image)?)?),
            (None, Some(Location::Storage { store: Some(choice), name }))
                if choice.graph_root != places.store.graph_root() =>
            {
                Ok(places.with_source(&Location::Storage { store: Some(choice), name }, copy)?)
            }
            (None, _) => Err(ListError::Gone { list: list.name.clone(), digest: digest.clone() }),
        },
    }
}
