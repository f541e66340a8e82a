//! What the name of an image means as an entry of a list: its manifest, its platform, where it is.

use std::collections::BTreeMap;
use std::io::Read;

use oci::index::{Entry, EntryPlatform};
use oci::manifest::{ManifestOrIndex, digest_of};
use oci::{Digest, ImageConfig, Index, Manifest, Platform};
use store::Store;

use super::{ListError, ManifestList, format_of};
use crate::image::Image;
use crate::transfer::TransferError;
use crate::transfer::instance::{self, is_image};
use crate::transfer::place::Places;
use crate::transport::{Location, MAX_DOCUMENT, Source};

/// An entry to be added, and where its manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The entry.
    pub entry: Entry,
    /// The place, as the tools write it down.
    pub location: String,
}

/// Which images of an index are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// That for this platform.
    For(Platform),
    /// That for the host.
    ForHost,
}

impl Wanted {
    fn platform(&self) -> Platform {
        match self {
            Wanted::For(platform) => platform.clone(),
            Wanted::All | Wanted::ForHost => Platform::host(),
        }
    }
}

/// The entries for the image that a user means by `name`: one of the store, a place such as
/// `oci:DIR:TAG`, or one on a registry. An image of the store goes before one on a registry if it is for
/// the platform that is asked for, and is a list where all images of one are.
pub fn look_up(places: &Places<'_>, name: &str, wanted: &Wanted) -> Result<Vec<Addition>, ListError> {
    let location = match Location::parse(name)? {
        Some(Location::Storage { store: None, name }) => return of_store(places.store, &name, wanted),
        Some(location) => location,
        None => return of_bare_name(places, name, wanted),
    };
    of_place(places, &location, wanted)
}

fn of_bare_name(places: &Places<'_>, name: &str, wanted: &Wanted) -> Result<Vec<Addition>, ListError> {
    let local = match of_store(places.store, name, wanted) {
        Ok(local) if is_meant(places.store, name, &local, wanted) => return Ok(local),
        Err(error) if !error.is_not_found() && !error.is_of_platform() => return Err(error),
        local => local,
    };
    let candidates = match places.remotes.registries().and_then(|registries| registries.candidates(name)) {
        Ok(candidates) => candidates,
        Err(error) => return local.map_err(|_| TransferError::from(error).into()),
    };
    let mut failure = None;
    for reference in candidates {
        match of_place(places, &Location::Docker(reference.with_default_tag()), wanted) {
            Ok(additions) => return Ok(additions),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (local, failure) {
        // The image of the store may be wanted for a platform of the user's own.
        (Ok(local), _) => Ok(local),
        (Err(_), Some(failure)) => Err(failure),
        (Err(error), None) => Err(error),
    }
}

/// Whether the image of the store that `name` names is surely the one that is wanted.
fn is_meant(store: &Store, name: &str, local: &[Addition], wanted: &Wanted) -> bool {
    match wanted {
        Wanted::ForHost => true,
        Wanted::All => ManifestList::find(store, name).is_ok(),
        Wanted::For(wanted) => local.iter().all(|addition| {
            let platform = addition.entry.platform.as_ref();
            platform.is_some_and(|platform| platform.platform().satisfies(wanted))
        }),
    }
}

fn of_store(store: &Store, name: &str, wanted: &Wanted) -> Result<Vec<Addition>, ListError> {
    let record = store.image(name)?;
    let list = match ManifestList::read(store, name, &record) {
        Ok(list) => list,
        Err(ListError::NotAList { .. }) => return Ok(vec![of_image(store, &Image::find(store, name)?)]),
        Err(error) => return Err(error),
    };
    let here = place_in_store(store, record.id.as_str());
    let entries = choose(name, &list.index, wanted)?;
    let addition = |entry: &Entry| {
        let location = list.instances.get(&entry.digest.to_string()).cloned();
        Addition { entry: entry.clone(), location: location.unwrap_or_else(|| here.clone()) }
    };
    Ok(entries.into_iter().map(addition).collect())
}

/// The entry for an image of the store.
pub(super) fn of_image(store: &Store, image: &Image) -> Addition {
    let manifest = image.manifest();
    let platform = is_image(manifest).then(|| EntryPlatform::of_config(image.config()));
    Addition { entry: Entry::of_manifest(manifest, platform), location: place_in_store(store, image.id().as_str()) }
}

/// An image of the store as a place, in the words of the tools that share it.
fn place_in_store(store: &Store, id: &str) -> String {
    let (graph, run) = (store.graph_root().display(), store.run_root().display());
    format!("containers-storage:[{}@{graph}+{run}]@{id}", store.driver().name())
}

fn of_place(places: &Places<'_>, location: &Location, wanted: &Wanted) -> Result<Vec<Addition>, ListError> {
    Ok(places.with_source(location, |source| of_source(source, &location.to_string(), wanted))?)
}

fn of_source(source: &dyn Source, location: &str, wanted: &Wanted) -> Result<Vec<Addition>, TransferError> {
    let name = source.name();
    let raw = source.manifest(None)?;
    let invalid = |source| TransferError::Manifest { name: name.clone(), source };
    let parsed = ManifestOrIndex::parse(&raw.bytes, raw.media_type.as_deref()).map_err(invalid)?;
    let entries = match &parsed {
        ManifestOrIndex::Manifest(manifest) => vec![Entry::of_manifest(manifest, platform(source, manifest)?)],
        ManifestOrIndex::Index(index) => {
            let chosen = choose(&name, index, wanted)?.into_iter();
            chosen.map(|entry| with_platform(source, entry)).collect::<Result<_, _>>()?
        }
    };
    let addition = |entry| Addition { entry, location: location.to_owned() };
    Ok(entries.into_iter().map(addition).collect())
}

fn choose<'i>(name: &str, index: &'i Index, wanted: &Wanted) -> Result<Vec<&'i Entry>, TransferError> {
    if *wanted == Wanted::All {
        return Ok(index.entries.iter().collect());
    }
    let platform = wanted.platform();
    let entry = index.select(&platform).ok_or_else(|| TransferError::NoPlatform {
        name: name.to_owned(),
        platform: platform.to_string(),
        available: index.platforms(),
    })?;
    Ok(vec![entry])
}

/// An entry of an index; where that says no platform, the image does.
fn with_platform(source: &dyn Source, entry: &Entry) -> Result<Entry, TransferError> {
    let mut entry = Entry { data: None, ..entry.clone() };
    let says = |platform: &EntryPlatform| !platform.os.is_empty() && !platform.architecture.is_empty();
    if entry.artifact_type.is_none() && !entry.platform.as_ref().is_some_and(says) {
        let raw = instance::read(source, &entry.digest)?;
        let invalid = |error| TransferError::Manifest { name: source.name(), source: error };
        let manifest = Manifest::parse(&raw.bytes, Some(&entry.media_type)).map_err(invalid)?;
        entry.platform = platform(source, &manifest)?.or(entry.platform);
    }
    Ok(entry)
}

/// What the config of `manifest` says of its platform, if it is an image's.
fn platform(source: &dyn Source, manifest: &Manifest) -> Result<Option<EntryPlatform>, TransferError> {
    if !is_image(manifest) {
        return Ok(None);
    }
    let name = source.name();
    let invalid = |source| TransferError::Manifest { name: name.clone(), source };
    let digest = digest_of(manifest.config()).map_err(invalid)?;
    let mut bytes = Vec::new();
    let stream = source.blob(&digest, Some(manifest.config().size()))?;
    let read = stream.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| TransferError::from_stream(error, &format!("the config of {name}")))?;
    let config = ImageConfig::parse(&bytes).map_err(|source| TransferError::Config { name, source })?;
    Ok(Some(EntryPlatform::of_config(&config)))
}

/// A descriptor of the image or list that `name` means, as the subject of another manifest.
pub fn subject(places: &Places<'_>, name: &str) -> Result<Entry, ListError> {
    let of_manifest = |bytes: &[u8], media_type: Option<&str>| -> Result<Entry, ListError> {
        let invalid = |source| ListError::Manifest { name: name.to_owned(), source };
        let (media_type, artifact_type) = match ManifestOrIndex::parse(bytes, media_type).map_err(invalid)? {
            ManifestOrIndex::Manifest(manifest) => {
                (manifest.format().manifest(), manifest.artifact_type().map(str::to_owned))
            }
            ManifestOrIndex::Index(_) => (format_of(bytes).index(), None),
        };
        Ok(Entry {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type,
        })
    };
    let of_place = |location: &Location| {
        let raw = places.with_source(location, |source| source.manifest(None))?;
        of_manifest(&raw.bytes, raw.media_type.as_deref())
    };
    let of_record = |name: &str| of_manifest(&places.store.image_manifest(&places.store.image(name)?.id)?, None);
    match Location::parse(name)? {
        Some(Location::Storage { store: None, name }) => of_record(&name),
        Some(location) => of_place(&location),
        None => match of_record(name) {
            Err(error) if error.is_not_found() => {
                let registries = places.remotes.registries().map_err(TransferError::from)?;
                let mut candidates = registries.candidates(name).map_err(TransferError::from)?.into_iter();
                let first = candidates.next().ok_or(error)?;
                of_place(&Location::Docker(first.with_default_tag()))
            }
            entry => entry,
        },
    }
}
