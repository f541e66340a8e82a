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

/// Removes what killed builds left. What resists is left to others.
pub(crate) fn remove(store: &Store) -> store::Result<()> {
    let Ok(killed) = killed_builds(store) else { return Ok(()) };
    if killed.is_empty() {
        return Ok(());
    }
    for container in store.containers()? {
        if killed.iter().any(|build| build.made(&container.metadata)) {
            match store.delete_container(&container.id) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
    }
    let _ = forget(store, killed);
    Ok(())
}
