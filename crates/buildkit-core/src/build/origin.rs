//! What `--from` and `from=` lead to: an earlier stage, or an image.

use dockerfile::Word;

use super::error::StepError;
use super::stage::StageBuild;
use crate::event::Event;
use crate::plan::{Origin, origin};
use crate::transfer::pull::{PullOptions, resolve_or_pull};

/// The image or working container of the store that `--from` or `from=` means.
pub(super) fn resolve(stage: &mut StageBuild<'_, '_, '_>, word: &Word) -> Result<String, StepError> {
    let build = &stage.build;
    let origin = origin(word, stage.stage.index, &build.plan.names).map_err(|error| StepError::Value(error.message))?;
    let name = match origin {
        Origin::Stage(index) => {
            let done = build.done.get(&index);
            let image = done.and_then(|done| done.image.as_ref()).map(ToString::to_string);
            let container = || Some(done?.container.as_ref()?.id().to_string());
            return image
                .or_else(container)
                .ok_or_else(|| StepError::Value(format!("stage {} has not been built", word.text)));
        }
        Origin::Image(name) => name,
    };
    let options = PullOptions { policy: build.options.pull, platform: build.options.plan.platform.clone() };
    match resolve_or_pull(build.store, build.remotes, &name, &options, build.events) {
        Ok(image) => Ok(image.id().to_string()),
        Err(error) => {
            if let Some(near) = dockerfile::diagnostic::nearest(&name, build.plan.names.iter()) {
                (build.events)(Event::Warning(format!("no stage is named {name}: did you mean {near}?")));
            }
            Err(error.into())
        }
    }
}
