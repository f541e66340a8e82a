//! Pulling: from any transport into the store, if the policy asks for it.

use oci::{Digest, ImageId, Platform, Reference};
use store::Store;

use super::into_store::into_store;
use super::opened::OpenedImage;
use super::place::Places;
use super::{Remotes, TransferError};
use crate::event::{Event, Events};
use crate::image::{Image, ImageError};
use crate::transport::docker::DockerSource;
use crate::transport::{Location, Source};

/// When an image is pulled that may be in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always; a failure is an error.
    Always,
    /// If the store does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
    /// If the registry's differs from the store's; a failure is an error only if the store has none.
    Newer,
}

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// When.
    pub policy: PullPolicy,
    /// Which entry of an index; also what an image in the store is compared with.
    pub platform: Platform,
}

/// The image that a user means by `name`: one in the store (name, ID, unambiguous start of an ID,
/// `containers-storage:` name), or one that is pulled (a name with or without registry, or
/// `transport:…`), as `options.policy` says. The result is in the store in any case.
pub fn resolve_or_pull(
    store: &Store,
    remotes: &Remotes,
    name: &str,
    options: &PullOptions,
    events: Events<'_>,
) -> Result<Image, TransferError> {
    let places = Places { store, remotes, events };
    match Location::parse(name)? {
        None => by_name(&places, name, options),
        Some(Location::Docker(reference)) => {
            let full = reference.to_string();
            let local = find(store, &full, options)?;
            by_policy(&places, &full, local, options, |_| Ok(vec![reference]))
        }
        Some(Location::Storage { store: None, name }) => Ok(Image::find_for(store, &name, &options.platform)?),
        // Of a place that is no registry the store cannot tell what it has: policies do not apply.
        Some(location) => places.with_source(&location, |source| pull_source(&places, source, None, options)),
    }
}

/// The same, but what comes from a layout, archive or directory gets no name in the store.
pub fn resolve_or_pull_nameless(
    store: &Store,
    remotes: &Remotes,
    name: &str,
    options: &PullOptions,
    events: Events<'_>,
) -> Result<Image, TransferError> {
    match Location::parse(name)? {
        None | Some(Location::Docker(_) | Location::Storage { .. }) => {
            resolve_or_pull(store, remotes, name, options, events)
        }
        Some(location) => Places { store, remotes, events }.with_source(&location, |source| {
            let opened = OpenedImage::open(source, &options.platform)?;
            let id = into_store(store, &opened, &[], events)?;
            Ok(Image::read(store, name, store.image_by_id(&id)?)?)
        }),
    }
}

/// Pulls every tag of `name`'s repository and gives the images in the registry's order.
pub fn pull_all_tags(
    store: &Store,
    remotes: &Remotes,
    name: &str,
    options: &PullOptions,
    events: Events<'_>,
) -> Result<Vec<Image>, TransferError> {
    let places = Places { store, remotes, events };
    let candidates = match Location::parse(name)? {
        Some(Location::Docker(reference)) => vec![reference],
        Some(other) => {
            let text = other.to_string();
            let transport = text.split(':').next().unwrap_or_default();
            return Err(TransferError::Unsupported(format!(
                "{other}: pulling all tags is not supported for {transport} transport"
            )));
        }
        None => remotes.registries()?.candidates(name)?,
    };
    let tags =
        first_success(name, candidates, |reference| Ok((DockerSource::tags(remotes, reference)?, reference.clone())));
    let (tags, reference) = tags?;
    let mut images = Vec::new();
    for tag in tags {
        let tagged = Reference::parse_qualified(&format!("{}:{tag}", reference.name()))
            .map_err(registry::registries_conf::RegistriesError::from)?;
        images.push(pull_reference(&places, &tagged, options)?);
    }
    Ok(images)
}

fn by_name(places: &Places<'_>, name: &str, options: &PullOptions) -> Result<Image, TransferError> {
    let local = find(places.store, name, options)?;
    if local.is_none() && Digest::parse(name).is_ok() {
        // An ID of no image: no registry knows it.
        return Ok(Image::find(places.store, name)?);
    }
    if let Some(image) = &local {
        // An ID names exactly one image: there is nothing that a registry could have newer.
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        if image.id().as_str().starts_with(digits) && Reference::parse_qualified(image.name()).is_err() {
            return local.ok_or_else(|| TransferError::NeverPulled { name: name.to_owned() });
        }
    }
    by_policy(places, name, local, options, |local| {
        if let Some(reference) = local.and_then(|image| Reference::parse_qualified(image.name()).ok()) {
            return Ok(vec![reference]);
        }
        let candidates = places.remotes.registries()?.candidates(name)?;
        // With a digest a tag says nothing more.
        let plain = |reference: Reference| match reference.digest().cloned() {
            Some(digest) => reference.with_digest(digest),
            None => reference.with_default_tag(),
        };
        Ok(candidates.into_iter().map(plain).collect())
    })
}

fn by_policy(
    places: &Places<'_>,
    name: &str,
    local: Option<Image>,
    options: &PullOptions,
    candidates: impl FnOnce(Option<&Image>) -> Result<Vec<Reference>, TransferError>,
) -> Result<Image, TransferError> {
    let fits = |image: &Image| {
        let platform = image.config().platform();
        platform.architecture.is_empty() || platform.satisfies(&options.platform)
    };
    match (options.policy, local) {
        (PullPolicy::Never, Some(image)) => Ok(image),
        (PullPolicy::Never, None) => Err(TransferError::NeverPulled { name: name.to_owned() }),
        (PullPolicy::Missing, Some(image)) if fits(&image) => Ok(image),
        (PullPolicy::Missing, Some(image)) => {
            let references = candidates(Some(&image))?;
            pull_first(places, name, references, options).or_else(|error| {
                let text = format!(
                    "using the image {} for platform {}: there is none for {} ({error})",
                    image.name(),
                    image.config().platform(),
                    options.platform
                );
                (places.events)(Event::Warning(text));
                Ok(image)
            })
        }
        (PullPolicy::Newer, Some(image)) => {
            let references = candidates(Some(&image))?;
            newer(places, name, image, references, options)
        }
        (_, local) => pull_first(places, name, candidates(local.as_ref())?, options),
    }
}

/// Pulls if the registry's image is another one; if that fails the store's is good enough.
fn newer(
    places: &Places<'_>,
    name: &str,
    image: Image,
    references: Vec<Reference>,
    options: &PullOptions,
) -> Result<Image, TransferError> {
    let current =
        first_success(name, references.clone(), |reference| DockerSource::current_digest(places.remotes, reference));
    match current {
        Ok(Some(digest)) if image.record().digests().contains(&&digest) => Ok(image),
        Ok(_) => pull_first(places, name, references, options).or_else(|error| {
            (places.events)(Event::Info(format!("keeping {}: {error}", image.name())));
            Ok(image)
        }),
        Err(error) => {
            (places.events)(Event::Info(format!("keeping {}: {error}", image.name())));
            Ok(image)
        }
    }
}

fn find(store: &Store, name: &str, options: &PullOptions) -> Result<Option<Image>, TransferError> {
    match Image::find_for(store, name, &options.platform) {
        Ok(image) => Ok(Some(image)),
        Err(ImageError::Store(error)) if error.is_not_found() => Ok(None),
        // A manifest list of the store; a registry may have another one of its name.
        Err(ImageError::NotInList { .. }) if options.policy == PullPolicy::Always => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn pull_first(
    places: &Places<'_>,
    name: &str,
    references: Vec<Reference>,
    options: &PullOptions,
) -> Result<Image, TransferError> {
    first_success(name, references, |reference| pull_reference(places, reference, options))
}

/// The first of `references` for which `work` succeeds. With one reference its error is the
/// error; with several all are told.
fn first_success<T>(
    name: &str,
    references: Vec<Reference>,
    mut work: impl FnMut(&Reference) -> Result<T, TransferError>,
) -> Result<T, TransferError> {
    let single = references.len() == 1;
    let mut tried = Vec::new();
    for reference in &references {
        match work(reference) {
            Ok(value) => return Ok(value),
            Err(error) if single => return Err(error),
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(TransferError::NotOnAny { name: name.to_owned(), tried })
}

fn pull_reference(places: &Places<'_>, reference: &Reference, options: &PullOptions) -> Result<Image, TransferError> {
    (places.events)(Event::Pulling(reference.to_string()));
    let location = Location::Docker(reference.clone());
    places.with_source(&location, |source| pull_source(places, source, Some(reference), options))
}

fn pull_source(
    places: &Places<'_>,
    source: &dyn Source,
    reference: Option<&Reference>,
    options: &PullOptions,
) -> Result<Image, TransferError> {
    let opened = OpenedImage::open(source, &options.platform)?;
    let platform = opened.config.platform();
    if !platform.architecture.is_empty() && !platform.satisfies(&options.platform) {
        let text = format!("image {} is for platform {platform}, not {}", source.name(), options.platform);
        (places.events)(Event::Warning(text));
    }
    let names = source.store_names();
    let id: ImageId = into_store(places.store, &opened, &names, places.events)?;
    let asked =
        reference.map(Reference::to_string).or_else(|| names.into_iter().next()).unwrap_or_else(|| source.name());
    Ok(Image::read(places.store, &asked, places.store.image_by_id(&id)?)?)
}
