//! WORKDIR: the directory is made.

use rootfs::{Owner, Root};

use super::error::{BuildError, StepError};
use super::stage::{At, Executed, StageBuild, own_parts};
use crate::step::Step;

/// Makes the directory `path` if it is not there, owned by the config's user.
pub(super) fn make(stage: &mut StageBuild<'_, '_>, at: At<'_>, step: &Step, path: &str) -> Result<(), BuildError> {
    let user = stage.state.config.config.user.clone();
    let mut parts = own_parts(stage);
    parts.own.add("WORKDIR", path);
    parts.own.add("USER", user.clone());
    stage.make_layer(at, step, parts, false, |_, root| {
        let made = Root::open(root).map_err(StepError::from).and_then(|root| make_dir(&root, path, &user));
        Ok(Executed { is_nothing: !made.map_err(|error| at.failed(error))?, ..Executed::default() })
    })
}

/// Says whether it was made.
fn make_dir(root: &Root, path: &str, user: &str) -> Result<bool, StepError> {
    match root.metadata_following(path) {
        Ok(metadata) if metadata.is_dir() => Ok(false),
        Ok(_) => Err(StepError::Value(format!("{path} is there and is no directory"))),
        Err(error) if error.is_not_found() => {
            let user = runtime::resolve_user(root, user)?;
            root.create_dir_all(path, 0o755, Owner { uid: user.uid, gid: user.gid })?;
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}
