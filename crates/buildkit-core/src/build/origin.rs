//! What `--from` and `from=` lead to: an earlier stage, a named context, or an image.

use std::path::PathBuf;
use std::sync::Arc;

use dockerfile::Word;
use dockerfile::ignore::Ignore;
use store::LayerTree;

use super::Build;
use super::error::{BuildError, StepError};
use super::layers::Files;
use super::stage::{At, StageBuild, StageResult};
use super::step_key::ReadFiles;
use crate::context::NamedContext;
use crate::event::Event;
use crate::plan::{Origin, origin};

/// Where files are.
#[derive(Clone)]
pub(super) enum Found {
    /// An earlier stage, which is done.
    Stage(Arc<StageResult>),
    /// An image's layers.
    Image(Files),
    /// A directory of the host, and what of it stays out.
    Directory(PathBuf, Ignore),
}

/// What `--from` or `from=` means. A stage is waited for.
pub(super) fn resolve(stage: &mut StageBuild<'_, '_>, at: At<'_>, word: &Word) -> Result<Found, BuildError> {
    let build = stage.build;
    let at = At { span: word.span, ..at };
    let failed = |error: StepError| at.failed(error);
    let origin =
        origin(word, stage.stage.index, &build.plan.names).map_err(|error| failed(StepError::Value(error.message)))?;
    match origin {
        Origin::Stage(index) => {
            let not_built = || failed(StepError::Value(format!("stage {} has not been built", word.text)));
            let position = build.position_of(index).ok_or_else(not_built)?;
            stage.place.wait_for(position).map(Found::Stage).map_err(|_| build.why_over())
        }
        Origin::Context(name) => match context(build, &name).map_err(failed)? {
            NamedContext::Directory { dir, ignore } => Ok(Found::Directory(dir.clone(), ignore.clone())),
            NamedContext::Image(image) => {
                let image = build.borrowed_image(image, &build.options.plan.platform).map_err(failed)?;
                Ok(Found::Image(Files::of_base(image.top_layer().cloned())))
            }
        },
        Origin::Image(name) => image(build, &name).map(Found::Image).map_err(failed),
    }
}

/// The named context `name`.
pub(super) fn context<'b>(build: &Build<'b>, name: &str) -> Result<&'b NamedContext, StepError> {
    build.options.contexts.get(name).ok_or_else(|| StepError::Value(format!("there is no build context {name}")))
}

fn image(build: &Build<'_>, name: &str) -> Result<Files, StepError> {
    match build.image(name, &build.options.plan.platform) {
        Ok(image) => Ok(Files::of_base(image.top_layer().cloned())),
        Err(error) => {
            if let Some(near) = dockerfile::diagnostic::nearest(name, build.plan.names.iter()) {
                (build.events)(Event::Warning(format!("no stage is named {name}: did you mean {near}?")));
            }
            Err(error)
        }
    }
}

impl Found {
    /// The layers, if it is not a directory, for a step's key.
    pub fn read_files(&self) -> Option<ReadFiles> {
        let (files, made_by) = match self {
            Found::Stage(stage) => (stage.files.clone(), stage.made_by.clone()),
            Found::Image(files) => (files.clone(), files.base_key()),
            Found::Directory(..) => return None,
        };
        Some(ReadFiles { files, made_by, digest: None })
    }

    /// The files, where they can be read as long as the value lives.
    pub fn open(&self, build: &Build<'_>) -> Result<Opened, StepError> {
        let files = match self {
            Found::Stage(stage) => &stage.files,
            Found::Image(files) if files.base.is_none() => {
                return Err(StepError::Value("the image has no files".to_owned()));
            }
            Found::Image(files) => files,
            Found::Directory(dir, _) => return Ok(Opened { dir: dir.clone(), _tree: None }),
        };
        let _still = build.hold_still();
        let tree = build.store.open_tree(&files.directories(build.store)?)?;
        Ok(Opened { dir: tree.path(), _tree: Some(tree) })
    }
}

/// Files that are open.
pub(super) struct Opened {
    /// Where they are, for this process.
    pub dir: PathBuf,
    _tree: Option<LayerTree>,
}
