//! Images of the stages beside the target, where they are to be saved.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use oci::{DiffId, ImageId, LayerId};

use super::Build;
use super::draft::Ready;
use super::error::StepError;
use super::layers::Files;
use super::options::StageImages;
use super::publish::Over;
use super::stage::StageResult;
use crate::plan::{Base, Stage};

/// Labels of a stage's image: its name or number, and what it begins with, a name or an image's ID.
pub(super) const STAGE_LABELS: [&str; 2] = ["io.buildah.stage.name", "io.buildah.stage.base"];

/// The images of stages so far, by the stage's number in the file.
pub(super) type StageIds = RefCell<BTreeMap<usize, ImageId>>;

impl Build<'_> {
    /// The images of all stages that are built, but for the target; none of a stage that is no more
    /// than what it begins with. They are made in this order, and known by `ids` then.
    pub(super) fn stage_images<'a>(&'a self, ids: &'a StageIds) -> Vec<(Files, Over<'a>)> {
        if self.options.stage_images == StageImages::None {
            return Vec::new();
        }
        let target = self.plan.stages.last().map(|stage| stage.index);
        let mut stages: Vec<(&Stage, Arc<StageResult>)> = (0..self.works.len())
            .filter_map(|position| Some((self.stage(position)?, self.schedule.result(position)?)))
            .filter(|(stage, _)| Some(stage.index) != target && has_image(stage))
            .collect();
        stages.sort_by_key(|(stage, _)| stage.index);
        let image = |(stage, result): (&'a Stage, Arc<StageResult>)| {
            let files = result.files.clone();
            let make = move |top: Option<LayerId>, layers: &[(DiffId, u64)]| -> Result<Ready, StepError> {
                let mut config = result.state.config.clone();
                config.config.labels.extend(self.options.layer_labels.iter().cloned());
                self.add_stage_labels(stage, &mut config.config.labels, ids);
                let mut ready = result.draft.image(&config, top.clone(), layers, self.options, false, None)?;
                if let Some(earlier) = self.earlier_image(&ready, top.as_ref())? {
                    ready = earlier;
                }
                ids.borrow_mut().insert(stage.index, ready.id.clone());
                Ok(ready)
            };
            (files, Over::Image(Box::new(make)))
        };
        stages.into_iter().map(image).collect()
    }

    /// The labels of the image of `stage`, if they are wanted. Those of the file's own count more.
    pub(super) fn add_stage_labels(&self, stage: &Stage, labels: &mut BTreeMap<String, String>, ids: &StageIds) {
        if self.options.stage_images != StageImages::Labelled {
            return;
        }
        if !has_image(stage) {
            // It is what it begins with.
            if let Base::Stage(index) = stage.base
                && let Some(base) = self.stage_of(index)
            {
                self.add_stage_labels(base, labels, ids);
            }
            return;
        }
        let name = stage.name.clone().unwrap_or_else(|| stage.index.to_string());
        for (label, value) in STAGE_LABELS.into_iter().zip([name, self.base_text(stage, ids)]) {
            labels.entry(label.to_owned()).or_insert(value);
        }
    }

    /// What the stage begins with: an image's name, or its ID where that is another stage's.
    fn base_text(&self, stage: &Stage, ids: &StageIds) -> String {
        match &stage.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Image(name) | Base::Context(name) => name.clone(),
            Base::Stage(index) => match (ids.borrow().get(index), self.stage_of(*index)) {
                (Some(id), _) => id.to_string(),
                (None, Some(base)) => self.base_text(base, ids),
                (None, None) => index.to_string(),
            },
        }
    }

    /// The stage with this number in the file.
    fn stage_of(&self, index: usize) -> Option<&Stage> {
        self.position_of(index).and_then(|position| self.stage(position))
    }
}

/// Whether the stage is more than what it begins with.
fn has_image(stage: &Stage) -> bool {
    !stage.instructions.is_empty() || matches!(stage.base, Base::Context(_))
}
