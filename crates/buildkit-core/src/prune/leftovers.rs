//! What killed builds left: their working containers, and claims of steps.

use store::Store;

use super::disk::bytes_below;
use super::{Candidate, Kind, PruneError};
use crate::build::claims;
use crate::build::record::KilledBuild;

/// Builds that were killed, kept from others that clean up.
pub(super) fn killed_builds(store: &Store) -> Result<Vec<KilledBuild>, PruneError> {
    let private = store.private_directory()?;
    KilledBuild::list(&private).map_err(PruneError::io(private.join("builds")))
}

/// Their containers.
pub(super) fn list(store: &Store, killed: &[KilledBuild]) -> Result<Vec<Candidate>, PruneError> {
    let mut leftovers = Vec::new();
    if killed.is_empty() {
        return Ok(leftovers);
    }
    for container in store.containers()? {
        if killed.iter().any(|build| build.made(&container.metadata)) {
            leftovers.push(candidate(store, Kind::Leftover, container)?);
        }
    }
    Ok(leftovers)
}

/// A container that is to go.
pub(super) fn candidate(store: &Store, kind: Kind, container: store::Container) -> Result<Candidate, PruneError> {
    let frees = match store.upper_dir(&container.id) {
        Ok(dir) => bytes_below(&dir)?,
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error.into()),
    };
    let (id, names) = (container.id.to_string(), container.names);
    Ok(Candidate { kind, id, names, frees, last_used: container.created })
}

/// Forgets the builds of which nothing is left.
pub(super) fn forget(store: &Store, killed: Vec<KilledBuild>) -> Result<(), PruneError> {
    if killed.is_empty() {
        return Ok(());
    }
    let private = store.private_directory()?;
    let claims = claims::directory(&private);
    claims::remove_left(&claims).map_err(PruneError::io(claims))?;
    let containers = store.containers()?;
    for build in killed {
        if !containers.iter().any(|container| build.made(&container.metadata)) {
            build.forget().map_err(PruneError::io(private.join("builds")))?;
        }
    }
    Ok(())
}

/// Removes what killed builds left, and costs next to nothing where there was none: a look at the builds
/// under way, whatever else is in the store. What resists is left to others.
pub fn remove(store: &Store) {
    let Ok(killed) = killed_builds(store) else { return };
    if killed.is_empty() {
        return;
    }
    let theirs = |container: &store::Container| killed.iter().any(|build| build.made(&container.metadata));
    for container in store.containers().unwrap_or_default().iter().filter(|container| theirs(container)) {
        let _ = store.delete_container(&container.id);
    }
    let _ = forget(store, killed);
}
