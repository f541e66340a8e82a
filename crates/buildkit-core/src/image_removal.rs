//! Images leave: names are taken first, the image goes with its last one, and with it the nameless
//! images that were only steps on the way to it.

use oci::{ContainerId, ImageId, Reference};
use store::Store;

use crate::image_list::{ImageList, ListedImage};
use crate::working_container;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Names that were taken.
    pub untagged: Vec<String>,
    /// Images that are gone.
    pub removed: Vec<ImageId>,
}

/// Whether to remove what others use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Refuse.
    No,
    /// Take all names, and remove the containers based on the image.
    Yes,
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The store failed, or has no such image.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A container is based on it.
    #[error("image used by {container}: image is in use by a container: remove the container, or force the removal")]
    InUse {
        /// The container.
        container: ContainerId,
    },
    /// It was named by ID and has several names.
    #[error("unable to delete image {id} by ID with more than one tag ({}): force the removal", .names.join(", "))]
    SeveralNames {
        /// The image.
        id: ImageId,
        /// Its names.
        names: Vec<String>,
    },
    /// It is a step on the way to another image.
    #[error("image {id} has dependent child images: remove those first")]
    HasChildren {
        /// The image.
        id: ImageId,
    },
}

/// Removes the image that `text` names or, if it has other names or children, that name only.
pub fn remove(store: &Store, text: &str, force: Force) -> Result<Removal, RemovalError> {
    let record = store.image(text)?;
    let list = ImageList::read(store)?;
    let Some(image) = list.get(&record.id) else {
        return Err(store::Error::UnknownImage { name: text.to_owned() }.into());
    };
    let mut removal = Removal::default();
    let names = &image.record.names;
    let meant = meant_name(text, &image.record);
    match &meant {
        None if names.len() > 1 && force == Force::No => {
            return Err(RemovalError::SeveralNames { id: record.id, names: names.clone() });
        }
        Some(name) if names.len() > 1 => {
            store.remove_image_names(&record.id, std::slice::from_ref(name))?;
            removal.untagged.push(name.clone());
            return Ok(removal);
        }
        _ => {}
    }
    free_of_containers(store, &record.id, force)?;
    if list.has_children(image) {
        // It stays as a step on the way to them.
        if names.is_empty() {
            return Err(RemovalError::HasChildren { id: record.id });
        }
        store.remove_image_names(&record.id, names)?;
        removal.untagged.extend(names.iter().cloned());
        return Ok(removal);
    }
    delete(store, image, &mut removal)?;
    remove_steps(store, list.parent(image).map(|parent| parent.record.id.clone()), &mut removal)?;
    Ok(removal)
}

/// Removes every image of the store; those that can't be removed are told one by one.
pub fn remove_all(store: &Store, force: Force) -> Result<(Removal, Vec<RemovalError>), store::Error> {
    remove_where(store, force, |_, _| true)
}

/// Removes the images that nothing names or needs, and those that this leaves so.
pub fn prune(store: &Store) -> Result<(Removal, Vec<RemovalError>), store::Error> {
    let mut total = Removal::default();
    loop {
        let (removal, errors) = remove_where(store, Force::No, |list, image| list.is_dangling(image))?;
        let is_done = removal.removed.is_empty() || !errors.is_empty();
        total.untagged.extend(removal.untagged);
        total.removed.extend(removal.removed);
        if is_done {
            return Ok((total, errors));
        }
    }
}

fn remove_where(
    store: &Store,
    force: Force,
    wanted: impl Fn(&ImageList, &ListedImage) -> bool,
) -> Result<(Removal, Vec<RemovalError>), store::Error> {
    let list = ImageList::read(store)?;
    let mut chosen: Vec<&ListedImage> =
        list.iter().filter(|image| !image.record.read_only && wanted(&list, image)).collect();
    // Children before what they were made from.
    chosen.sort_by_key(|image| std::cmp::Reverse(image.config.as_ref().map_or(0, |config| config.history.len())));
    let mut removal = Removal::default();
    let mut errors = Vec::new();
    for image in chosen {
        let result =
            free_of_containers(store, &image.record.id, force).and_then(|()| delete(store, image, &mut removal));
        match result {
            // Somebody else was quicker.
            Err(RemovalError::Store(error)) if error.is_not_found() => {}
            Err(error) => errors.push(error),
            Ok(()) => {}
        }
    }
    Ok((removal, errors))
}

/// The stored name that `text` means; none if it is an ID or a digest.
fn meant_name(text: &str, image: &store::Image) -> Option<String> {
    if let Some(name) = image.names.iter().find(|name| *name == text) {
        return Some(name.clone());
    }
    if image.id.as_str().starts_with(text.trim_start_matches("sha256:")) {
        return None;
    }
    let asked = Reference::parse_normalized(text).ok()?.with_default_tag();
    let wanted_path =
        if Reference::has_domain(text) { asked.path() } else { asked.path().trim_start_matches("library/") };
    let fits = |name: &&String| {
        Reference::parse_qualified(name).is_ok_and(|name| {
            name.tag() == asked.tag()
                && (name.path() == wanted_path || name.path().ends_with(&format!("/{wanted_path}")))
                && (!Reference::has_domain(text) || name.domain() == asked.domain())
        })
    };
    let local = |name: &&String| name.starts_with("localhost/");
    image.names.iter().filter(fits).find(local).or(image.names.iter().find(fits)).cloned()
}

fn free_of_containers(store: &Store, id: &ImageId, force: Force) -> Result<(), RemovalError> {
    for container in store.containers()?.into_iter().filter(|container| container.image.as_ref() == Some(id)) {
        match force {
            Force::No => return Err(RemovalError::InUse { container: container.id }),
            Force::Yes => working_container::remove(store, &container.id)?,
        }
    }
    Ok(())
}

fn delete(store: &Store, image: &ListedImage, removal: &mut Removal) -> Result<(), RemovalError> {
    let deleted = store.delete_image(&image.record.id).map_err(|error| match error {
        store::Error::ImageInUse { containers, image } => match containers.into_iter().next() {
            Some(container) => RemovalError::InUse { container },
            None => store::Error::ImageInUse { containers: Vec::new(), image }.into(),
        },
        error => error.into(),
    })?;
    removal.untagged.extend(deleted.names);
    removal.removed.push(image.record.id.clone());
    Ok(())
}

/// Removes `parent` and what it was made from, as long as nothing names or needs them.
fn remove_steps(store: &Store, mut parent: Option<ImageId>, removal: &mut Removal) -> Result<(), RemovalError> {
    while let Some(id) = parent.take() {
        let list = ImageList::read(store)?;
        let Some(image) = list.get(&id).filter(|image| list.is_dangling(image) && !image.record.read_only) else {
            break;
        };
        let next = list.parent(image).map(|parent| parent.record.id.clone());
        match delete(store, image, removal) {
            Ok(()) => parent = next,
            // A container is based on it: it is needed after all.
            Err(RemovalError::InUse { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
