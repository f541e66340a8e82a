//! What `--from` and `from=` lead to: an earlier stage, a named context, or an image.

use std::path::PathBuf;

use dockerfile::Word;
use dockerfile::ignore::Ignore;

use super::error::StepError;
use super::stage::StageBuild;
use super::{Build, pull_borrowed};
use crate::context::NamedContext;
use crate::event::Event;
use crate::plan::{Origin, origin};
use crate::transfer::pull::{PullOptions, resolve_or_pull};

/// Where files are.
pub(super) enum Found {
    /// An image or working container of the store.
    Named(String),
    /// A directory of the host, and what of it stays out.
    Directory(PathBuf, Ignore),
}

/// What `--from` or `from=` means.
pub(super) fn resolve(stage: &mut StageBuild<'_, '_, '_>, word: &Word) -> Result<Found, StepError> {
    let build = &mut *stage.build;
    let origin = origin(word, stage.stage.index, &build.plan.names).map_err(|error| StepError::Value(error.message))?;
    match origin {
        Origin::Stage(index) => {
            let done = build.done.get(&index);
            let image = done.and_then(|done| done.image.as_ref()).map(ToString::to_string);
            let container = || Some(done?.container.as_ref()?.id().to_string());
            image
                .or_else(container)
                .map(Found::Named)
                .ok_or_else(|| StepError::Value(format!("stage {} has not been built", word.text)))
        }
        Origin::Context(name) => match context(build, &name)?.clone() {
            NamedContext::Directory { dir, ignore } => Ok(Found::Directory(dir, ignore)),
            NamedContext::Image(image) => Ok(Found::Named(pull_borrowed(build, &image)?.id().to_string())),
        },
        Origin::Image(name) => image(build, &name).map(Found::Named),
    }
}

/// The named context `name`.
pub(super) fn context<'b>(build: &Build<'b, '_>, name: &str) -> Result<&'b NamedContext, StepError> {
    build.options.contexts.get(name).ok_or_else(|| StepError::Value(format!("there is no build context {name}")))
}

fn image(build: &Build<'_, '_>, name: &str) -> Result<String, StepError> {
    let options = PullOptions { policy: build.options.pull, platform: build.options.plan.platform.clone() };
    match resolve_or_pull(build.store, build.remotes, name, &options, build.events) {
        Ok(image) => Ok(image.id().to_string()),
        Err(error) => {
            if let Some(near) = dockerfile::diagnostic::nearest(name, build.plan.names.iter()) {
                (build.events)(Event::Warning(format!("no stage is named {name}: did you mean {near}?")));
            }
            Err(error.into())
        }
    }
}
