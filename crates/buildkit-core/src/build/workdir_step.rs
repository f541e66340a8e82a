//! WORKDIR: the directory is made.

use rootfs::{Owner, Root};

use super::error::StepError;
use crate::working_container::WorkingContainer;

/// Whether the directory `path` is not there yet.
pub(super) fn is_missing(container: &WorkingContainer<'_>, path: &str) -> Result<bool, StepError> {
    with_root(container, |root| match root.metadata_following(path) {
        Ok(metadata) if metadata.is_dir() => Ok(false),
        Ok(_) => Err(StepError::Value(format!("{path} is there and is no directory"))),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error.into()),
    })
}

/// Makes the directory `path`, owned by the config's user.
pub(super) fn make(container: &WorkingContainer<'_>, path: &str) -> Result<(), StepError> {
    with_root(container, |root| {
        let user = runtime::resolve_user(root, &container.state().config.config.user)?;
        root.create_dir_all(path, 0o755, Owner { uid: user.uid, gid: user.gid })?;
        Ok(())
    })
}

fn with_root<T>(
    container: &WorkingContainer<'_>,
    action: impl FnOnce(&Root) -> Result<T, StepError>,
) -> Result<T, StepError> {
    let mounted = container.store().mounted(container.id())?;
    let result = action(&Root::open(mounted.path())?);
    mounted.unmount()?;
    result
}
