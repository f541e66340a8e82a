//! Pushing: an image of the store to any transport.

use oci::{Digest, Manifest, Reference};
use store::Store;

use super::into_sink::{CopyOptions, into_sink};
use super::into_store::into_store;
use super::opened::OpenedImage;
use super::place::{Places, references};
use super::{Remotes, TransferError};
use crate::event::Events;
use crate::image::Image;
use crate::transport::storage::StorageSource;
use crate::transport::{Location, TransportError};

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Format and compression.
    pub copy: CopyOptions,
    /// Names that an archive gives the image beside those that the image has.
    pub names: Vec<Reference>,
}

/// What was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The manifest at the destination.
    pub manifest: Manifest,
    /// Its digest.
    pub digest: Digest,
}

/// The place that a user means by `text` as a destination: a bare name is one on a registry.
pub fn destination(text: &str) -> Result<Location, TransferError> {
    if let Some(location) = Location::parse(text)? {
        return Ok(location);
    }
    let reference = Reference::parse_normalized(text)
        .map_err(|error| TransportError::Name { text: error.text, reason: error.reason.to_owned() })?;
    Ok(Location::Docker(reference.with_default_tag()))
}

/// Pushes `image` of `store` to `location`.
pub fn push(
    store: &Store,
    remotes: &Remotes,
    image: Image,
    location: &Location,
    options: &PushOptions,
    events: Events<'_>,
) -> Result<Pushed, TransferError> {
    let places = Places { store, remotes, events };
    let mut names = options.names.clone();
    names.extend(references(&image));
    let names = names;
    let platform = image.config().platform();
    let source = StorageSource::of(store, image)?;
    let opened = OpenedImage::open(&source, &platform)?;
    if let Location::Storage { store: choice, name } = location {
        let name = storage_name(name)?;
        match choice {
            None => into_store(store, &opened, &[name], events)?,
            Some(choice) => into_store(&places.open_store(choice)?, &opened, &[name], events)?,
        };
        return Ok(Pushed { digest: opened.manifest.digest(), manifest: opened.manifest });
    }
    let sink = places.sink(location, &names)?;
    let manifest = into_sink(&opened, &*sink, &options.copy, remotes.retry(), events)?;
    Ok(Pushed { digest: manifest.digest(), manifest })
}

/// The full reference for a name in a store; one without a registry is `localhost`'s.
pub(super) fn storage_name(name: &str) -> Result<String, TransferError> {
    let text = if Reference::has_domain(name) { name.to_owned() } else { format!("localhost/{name}") };
    let reference = Reference::parse_qualified(&text)
        .map_err(|error| TransportError::Name { text: error.text, reason: error.reason.to_owned() })?;
    Ok(reference.with_default_tag().to_string())
}
