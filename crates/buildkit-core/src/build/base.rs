//! FROM: what a stage begins with.

use super::draft::Draft;
use super::error::StepError;
use super::layers::Files;
use super::{Build, origin};
use crate::cache::key::Key;
use crate::context::NamedContext;
use crate::image::Image;
use crate::plan::{Base, Stage};
use crate::stage_state::StageState;

/// Where commands are looked for in images from scratch.
const SCRATCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage begins with.
pub(super) struct Start {
    pub draft: Draft,
    pub state: StageState,
    pub files: Files,
    /// The key of the instructions that made the files.
    pub made_by: Key,
    /// The base image; none for a stage on another one.
    pub image: Option<Image>,
}

/// Finds or pulls the base. A stage that is the base is done.
pub(super) fn start(build: &Build<'_>, stage: &Stage) -> Result<Start, StepError> {
    let image = match &stage.base {
        Base::Scratch => None,
        Base::Image(name) => Some(build.image(name, &stage.platform)?),
        Base::Context(name) => match origin::context(build, name)? {
            NamedContext::Directory { .. } => None,
            NamedContext::Image(image) => Some(build.borrowed_image(image, &stage.platform)?),
        },
        Base::Stage(index) => return on_stage(build, *index),
    };
    let mut config = match &image {
        Some(image) => image.config().clone(),
        None => oci::ImageConfig::new(&stage.platform),
    };
    if matches!(stage.base, Base::Scratch) {
        // BuildKit and Buildah begin with these.
        config.config.env = vec![format!("PATH={SCRATCH_PATH}")];
        config.config.working_dir = "/".to_owned();
    }
    let mut state = StageState::new(build.scope.clone(), config);
    let mut draft = image.as_ref().map(Draft::on_image).unwrap_or_default();
    if matches!(stage.base, Base::Image(_) | Base::Context(_)) {
        if !build.options.inherit_labels {
            state.config.config.labels.clear();
        }
        if !build.options.inherit_annotations {
            draft.annotations.clear();
        }
    }
    add_env(build, &mut state);
    let files = Files::of_base(image.as_ref().and_then(|image| image.top_layer().cloned()));
    let made_by = files.base_key();
    Ok(Start { draft, state, files, made_by, image })
}

fn on_stage(build: &Build<'_>, index: usize) -> Result<Start, StepError> {
    let base = build.position_of(index).and_then(|position| build.schedule.result(position));
    let base = base.ok_or_else(|| StepError::Value(format!("stage {index} has not been built")))?;
    let mut state = StageState::on_stage(&base.state, base.state.config.clone());
    add_env(build, &mut state);
    Ok(Start {
        draft: base.draft.clone(),
        state,
        files: base.files.clone(),
        made_by: base.made_by.clone(),
        image: None,
    })
}

fn add_env(build: &Build<'_>, state: &mut StageState) {
    for (name, value) in &build.options.env {
        state.set_env(name, value);
    }
}
