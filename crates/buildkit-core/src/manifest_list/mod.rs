//! Manifest lists of the store: images without layers whose manifest is an index. Beside it is kept
//! where the image of each entry is: in the store, at another place, or, for artifacts, in files.

mod add; // what a name means as an entry
mod artifact; // files as entries
mod error; // one line each
mod push; // a list to any transport
mod show; // as `manifest inspect` prints it

use std::collections::BTreeMap;

use oci::index::{Entry, EntryPlatform};
use oci::manifest::ManifestOrIndex;
use oci::{Digest, Format, ImageId, Index, Platform, Reference, media_type};
use store::{BigData, Store, TakenNames};

use crate::image::Image;
pub use add::{Addition, Wanted, look_up, subject};
pub use artifact::ArtifactOptions;
use artifact::Artifacts;
pub use error::ListError;
pub use push::{ListPushOptions, PushedList, push};
pub use show::{inspect, inspect_elsewhere};

const MANIFEST: &str = "manifest";
const INSTANCES: &str = "instances.json";
const ARTIFACTS: &str = "artifacts.json";

/// A manifest list of the store.
#[derive(Clone, Debug)]
pub struct ManifestList {
    /// Its record; none of a list that is not kept.
    id: Option<ImageId>,
    /// What errors call it.
    name: String,
    /// The index as it is kept; nothing for a list that is not yet.
    stored: Vec<u8>,
    /// The index.
    pub index: Index,
    /// Where the manifests are, by digest; that of the list itself has the empty digest.
    instances: BTreeMap<String, String>,
    artifacts: Artifacts,
}

/// What becomes of an image that has the name of a new list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenThere {
    /// It keeps it: it is an error.
    Fail,
    /// If it is a list, it is the one to be changed; any other image gives its name to a list of it.
    Amend,
    /// It loses it.
    Replace,
}

/// What may be said of an entry beside what its image says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChanges {
    /// CPU architecture.
    pub architecture: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Features of the operating system, if there are any.
    pub os_features: Vec<String>,
    /// Variant of the CPU.
    pub variant: Option<String>,
    /// Features of the CPU, if there are any.
    pub features: Vec<String>,
    /// Further annotations.
    pub annotations: Vec<(String, String)>,
}

impl ManifestList {
    /// The list that a user means by `name`: a name or an ID.
    pub fn find(store: &Store, name: &str) -> Result<ManifestList, ListError> {
        let record = store.image(name)?;
        ManifestList::read(store, name, &record)
    }

    fn read(store: &Store, name: &str, record: &store::Image) -> Result<ManifestList, ListError> {
        let stored = store.image_manifest(&record.id)?;
        let manifest = |source| ListError::Manifest { name: name.to_owned(), source };
        let index = match ManifestOrIndex::parse(&stored, None).map_err(manifest)? {
            ManifestOrIndex::Index(index) => index,
            ManifestOrIndex::Manifest(_) => {
                let name = record.names.first().map_or(name, String::as_str).to_owned();
                return Err(ListError::NotAList { name });
            }
        };
        Ok(ManifestList {
            id: Some(record.id.clone()),
            name: name.to_owned(),
            stored,
            index,
            instances: read_json(store, record, name, INSTANCES)?,
            artifacts: read_json(store, record, name, ARTIFACTS)?,
        })
    }

    /// An empty list that errors call `name`.
    fn new(name: &str) -> ManifestList {
        ManifestList {
            id: None,
            name: name.to_owned(),
            stored: Vec::new(),
            index: Index::default(),
            instances: BTreeMap::new(),
            artifacts: Artifacts::default(),
        }
    }

    /// A list that the store does not keep, of images that it has.
    pub fn of_images(store: &Store, name: &str, images: &[(Platform, ImageId)]) -> Result<ManifestList, ListError> {
        let mut list = ManifestList::new(name);
        list.add_images(store, images)?;
        Ok(list)
    }

    /// Its ID, if the store keeps it.
    pub fn id(&self) -> Option<&ImageId> {
        self.id.as_ref()
    }

    /// Adds images of the store, which are said to be for these platforms.
    pub(crate) fn add_images(&mut self, store: &Store, images: &[(Platform, ImageId)]) -> Result<(), ListError> {
        for (platform, id) in images {
            let image = Image::read(store, id.as_str(), store.image_by_id(id)?)?;
            let addition = add::of_image(store, &image);
            let digest = addition.entry.digest.clone();
            self.add(vec![addition]);
            let changes = EntryChanges {
                architecture: Some(platform.architecture.clone()),
                os: Some(platform.os.clone()),
                variant: platform.variant.clone(),
                ..EntryChanges::default()
            };
            self.change_entry(&digest, &changes)?;
        }
        Ok(())
    }

    /// Adds `additions`; an entry of the same manifest is replaced.
    pub fn add(&mut self, additions: Vec<Addition>) {
        for Addition { entry, location } in additions {
            self.instances.entry(entry.digest.to_string()).or_insert(location);
            self.index.add(entry);
        }
    }

    /// Removes the entry of the manifest `digest`.
    pub fn remove(&mut self, digest: &Digest) -> Result<(), ListError> {
        if !self.index.remove(digest) {
            return Err(self.no_entry(&digest.to_string()));
        }
        self.instances.remove(&digest.to_string());
        self.artifacts.forget(digest);
        Ok(())
    }

    /// Changes what is said of the entry of the manifest `digest`.
    pub fn change_entry(&mut self, digest: &Digest, changes: &EntryChanges) -> Result<(), ListError> {
        let missing = self.no_entry(&digest.to_string());
        let entry = self.index.entry_mut(digest).ok_or(missing)?;
        entry.annotations.extend(changes.annotations.iter().cloned());
        let mut platform = entry.platform.clone().unwrap_or_default();
        for (text, new) in [
            (&mut platform.architecture, &changes.architecture),
            (&mut platform.os, &changes.os),
            (&mut platform.os_version, &changes.os_version),
            (&mut platform.variant, &changes.variant),
        ] {
            if let Some(new) = new {
                text.clone_from(new);
            }
        }
        for (list, new) in
            [(&mut platform.os_features, &changes.os_features), (&mut platform.features, &changes.features)]
        {
            if !new.is_empty() {
                list.clone_from(new);
            }
        }
        entry.platform = Some(platform).filter(|platform| *platform != EntryPlatform::default());
        Ok(())
    }

    /// The entry that a user means by `text`: a digest, a file of an artifact, or an image by its name.
    pub fn meant_entry(&self, store: &Store, text: &str) -> Result<Digest, ListError> {
        if let Ok(digest) = Digest::parse(text) {
            return Ok(digest);
        }
        if let Some(digest) = self.artifacts.with_file(text) {
            return Ok(digest);
        }
        if let Ok(image) = store.image(text)
            && let Some(entry) = self.index.entries.iter().find(|entry| image.digests().contains(&&entry.digest))
        {
            return Ok(entry.digest.clone());
        }
        let reference = Reference::parse_normalized(text.strip_prefix("docker://").unwrap_or(text));
        let place = reference.ok().map(|reference| format!("docker://{}", reference.with_default_tag()));
        let is_there = |entry: &&Entry| {
            let location = self.instances.get(&entry.digest.to_string());
            location.is_some_and(|location| location == text || place.as_ref() == Some(location))
        };
        let entry = self.index.entries.iter().find(is_there);
        entry.map(|entry| entry.digest.clone()).ok_or_else(|| self.no_entry(text))
    }

    fn no_entry(&self, text: &str) -> ListError {
        ListError::NoEntry { list: self.name.clone(), entry: text.to_owned() }
    }

    /// What the store keeps of it.
    fn data(&self) -> Result<Vec<BigData>, ListError> {
        let manifest = self.index.to_bytes(self.index.format());
        let bytes = manifest.map_err(|source| ListError::Manifest { name: self.name.clone(), source })?;
        let json = |key: &str, value: serde_json::Result<Vec<u8>>| match value {
            Ok(bytes) => Ok(BigData { key: key.to_owned(), bytes }),
            Err(error) => Err(invalid(&self.name, key, &error)),
        };
        Ok(vec![
            BigData { key: MANIFEST.to_owned(), bytes },
            json(INSTANCES, serde_json::to_vec(&self.instances))?,
            json(ARTIFACTS, serde_json::to_vec(&self.artifacts))?,
        ])
    }
}

fn read_json<T: serde::de::DeserializeOwned + Default>(
    store: &Store,
    record: &store::Image,
    name: &str,
    key: &str,
) -> Result<T, ListError> {
    let bytes = match store.image_data(&record.id, key) {
        Ok(bytes) => bytes,
        // Of an index that some tool copied into the store, or of a tool that knows no artifacts.
        Err(store::Error::NoData { .. }) => return Ok(T::default()),
        Err(error) => return Err(error.into()),
    };
    serde_json::from_slice(&bytes).map_err(|error| invalid(name, key, &error))
}

fn invalid(name: &str, key: &str, error: &serde_json::Error) -> ListError {
    ListError::Data { name: name.to_owned(), key: key.to_owned(), reason: error.to_string() }
}

/// The form that the text of an index has.
fn format_of(index: &[u8]) -> Format {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let typed: Option<Typed> = serde_json::from_slice(index).ok();
    match typed.and_then(|typed| typed.media_type).as_deref() {
        Some(media_type::DOCKER_MANIFEST_LIST) => Format::Docker,
        _ => Format::Oci,
    }
}

/// Makes the list `name` as `fill` wants it; `there` says what becomes of an image of that name.
pub fn create(
    store: &Store,
    name: &Reference,
    there: WhenThere,
    mut fill: impl FnMut(&mut ManifestList) -> Result<(), ListError>,
) -> Result<ImageId, ListError> {
    let text = name.to_string();
    let mut first = None;
    if there == WhenThere::Amend
        && let Some(record) = store.image_by_name(&text)?
    {
        match change_record(store, &text, &record.id, &mut fill) {
            Err(ListError::NotAList { .. }) => first = Some(add::of_image(store, &Image::read(store, &text, record)?)),
            changed => return changed.map(|()| record.id),
        }
    }
    let taken = match there {
        WhenThere::Replace => TakenNames::Move,
        WhenThere::Amend if first.is_some() => TakenNames::Move,
        _ => TakenNames::Stay,
    };
    let new = |id: &ImageId| {
        let mut list = ManifestList::new(&text);
        list.instances.insert(String::new(), id.to_string());
        list.add(first.into_iter().collect());
        fill(&mut list)?;
        list.data()
    };
    store.create_list(std::slice::from_ref(&text), taken, new).map(|image| image.id)
}

/// # Errors
/// `name` is that of an image which is no list.
pub fn check_name(store: &Store, name: &Reference) -> Result<(), ListError> {
    match ManifestList::find(store, &name.to_string()) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Adds images of the store to the list `name`, which is made if there is none.
pub fn add_images(store: &Store, name: &Reference, images: &[(Platform, ImageId)]) -> Result<ImageId, ListError> {
    let text = name.to_string();
    let add = |list: &mut ManifestList| list.add_images(store, images);
    match change(store, &text, add) {
        Err(error) if error.is_not_found() => {}
        changed => return changed.map(|(id, ())| id),
    }
    match create(store, name, WhenThere::Fail, add) {
        // Somebody was quicker.
        Err(ListError::Store(store::Error::ImageNameTaken { .. })) => change(store, &text, add).map(|(id, ())| id),
        made => made,
    }
}

/// Changes the list `name`, while no other tool does.
pub fn change<T>(
    store: &Store,
    name: &str,
    change: impl FnOnce(&mut ManifestList) -> Result<T, ListError>,
) -> Result<(ImageId, T), ListError> {
    let record = store.image(name)?;
    ManifestList::read(store, name, &record)?;
    let result = change_record(store, name, &record.id, change)?;
    Ok((record.id, result))
}

fn change_record<T>(
    store: &Store,
    name: &str,
    id: &ImageId,
    change: impl FnOnce(&mut ManifestList) -> Result<T, ListError>,
) -> Result<T, ListError> {
    let _lock = store.lock_list(id)?;
    let mut list = ManifestList::read(store, name, &store.image_by_id(id)?)?;
    list.instances.insert(String::new(), id.to_string());
    let result = change(&mut list)?;
    let mut data = list.data()?;
    // The index last: whoever is killed before leaves no entry that nothing is known of.
    data.reverse();
    store.set_image_data(id, data)?;
    Ok(result)
}
