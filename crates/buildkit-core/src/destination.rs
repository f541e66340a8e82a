//! Where a new image goes: into the store under a name, or to another place without staying in
//! the store.

use oci::Reference;
use oci::reference::InvalidReference;

use crate::commit::{Afterwards, CommitError, CommitOptions, Committed, commit_beside_steps};
use crate::event::Events;
use crate::image::{Image, ImageError, store_name};
use crate::transfer::{PushOptions, Remotes, TransferError, push};
use crate::transport::{Location, TransportError};
use crate::working_container::{WorkingContainer, WorkingContainerError};

/// Where an image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The store, under this name.
    Store(Reference),
    /// Another place.
    Elsewhere(Location),
}

/// Why an image did not get where it should.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The text names no place.
    #[error(transparent)]
    Name(#[from] InvalidReference),
    /// The text begins with a transport and names no place of it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The image could not be made.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The image that was made could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image could not be sent.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The container could not be removed.
    #[error(transparent)]
    Container(#[from] WorkingContainerError),
    /// The image could not be removed from the store again.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Destination {
    /// Parses what a user gives as the name of a new image: `transport:…`, or a name, which
    /// without a registry is one under `localhost/`.
    pub fn parse(text: &str) -> Result<Destination, DestinationError> {
        Ok(match Location::parse(text)? {
            None => Destination::Store(store_name(text)?),
            Some(Location::Storage { store: None, name }) => Destination::Store(store_name(&name)?),
            Some(location) => Destination::Elsewhere(location),
        })
    }
}

/// Commits `container` to `location`. The store keeps nothing of it, unless the very same image
/// was there before. The container goes, if it is to go, when the image has arrived.
pub fn commit_elsewhere(
    container: WorkingContainer<'_>,
    options: &CommitOptions,
    location: &Location,
    remotes: &Remotes,
    push_options: &PushOptions,
    events: Events<'_>,
) -> Result<Committed, DestinationError> {
    let store = container.store();
    let id = container.id().clone();
    let before = store.images()?;
    let keep = CommitOptions { afterwards: Afterwards::Keep, ..options.clone() };
    let (committed, _) = commit_beside_steps(container, &keep, events)?;
    let was_there = before.iter().any(|image| image.id == committed.image_id);
    let sent = Image::find(store, committed.image_id.as_str())
        .map_err(DestinationError::from)
        .and_then(|image| Ok(push::push(store, remotes, image, location, push_options, events)?));
    if !was_there {
        store.delete_image(&committed.image_id)?;
    }
    let manifest = sent?.manifest;
    if options.afterwards == Afterwards::Remove {
        WorkingContainer::open(store, id.as_str())?.remove()?;
    }
    Ok(Committed { manifest, ..committed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_names_go_to_the_store_and_transports_elsewhere() {
        let store = |text: &str| match Destination::parse(text) {
            Ok(Destination::Store(reference)) => reference.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(store("app"), "localhost/app:latest");
        assert_eq!(store("quay.io/me/app:1"), "quay.io/me/app:1");
        assert_eq!(store("containers-storage:app:2"), "localhost/app:2");
        for text in ["docker://localhost:5000/app", "oci:/tmp/x:1", "dir:/tmp/x"] {
            assert!(matches!(Destination::parse(text), Ok(Destination::Elsewhere(_))), "{text}");
        }
        assert!(Destination::parse("Not A Name").is_err());
    }
}
