//! Working containers that are to stay when the build has ended.

use layers::DiffOptions;
use oci::LayerId;
use rootfs::Time;

use super::error::StepError;
use super::layers::Files;
use super::options::Keep;
use super::publish::Over;
use super::stage::Wreck;
use super::{Build, Wrecks};
use crate::commit::recorded_layers;
use crate::event::Event;
use crate::working_container::{FromOptions, WorkingContainer};

impl<'b> Build<'b> {
    /// Gives the containers that are to stay the files of their stages: of a stage that is done, all;
    /// of one that failed, what its steps wrote until then.
    pub(super) fn keep_containers(&self, succeeded: bool, wrecks: Wrecks<'b>) {
        let keepers = std::mem::take(&mut *self.keepers.lock());
        let done = keepers.into_iter().filter_map(|(position, keeper)| {
            let result = self.schedule.result(position)?;
            let (config, draft) = (result.state.config.clone(), result.draft.clone());
            Some((position, Wreck { keeper: Some(keeper), staged: None, config, draft }))
        });
        let (done, wrecks) = match self.options.keep {
            Keep::Always => (done.collect(), wrecks),
            Keep::OnFailure if !succeeded => (Vec::new(), wrecks),
            Keep::OnFailure | Keep::Nothing => {
                let kept = self.kept.lock();
                (Vec::new(), wrecks.into_iter().filter(|(position, _)| kept.contains(position)).collect())
            }
        };
        for (position, mut wreck) in done.into_iter().chain(wrecks) {
            let Some(keeper) = wreck.keeper.take() else { continue };
            let name = keeper.name().to_owned();
            if let Err(error) = self.keep(position, keeper, wreck) {
                (self.events)(Event::Warning(format!("working container {name} has not all of its files: {error}")));
            }
        }
    }

    fn keep(&self, position: usize, keeper: WorkingContainer<'b>, wreck: Wreck<'b>) -> Result<(), StepError> {
        let files = self.work(position).files.clone();
        if files.stored().1 < files.made.len() {
            // Not even as layers of steps was any of it to stay: now the container needs it.
            self.publish_unread(&files)?;
        }
        let (top, _) = files.stored();
        let mut kept = match top == keeper.state().top_layer {
            true => keeper,
            false => self.replace(&keeper, top.clone())?,
        };
        self.containers.lock().retain(|other| other != kept.id());
        // Whoever goes on with it begins with what the stage's instructions said.
        let layers = top.map_or(Ok(Vec::new()), |top| recorded_layers(self.store, &top))?;
        let state = kept.state_mut();
        state.config = wreck.config;
        state.config.history = wreck.draft.history;
        state.config.rootfs.diff_ids = layers.into_iter().map(|(diff_id, _)| diff_id).collect();
        state.annotations = wreck.draft.annotations;
        kept.save()?;
        if let Some(staged) = &wreck.staged {
            let upper = self.store.upper_dir(kept.id())?;
            for entry in std::fs::read_dir(staged.diff_dir())? {
                let entry = entry?;
                std::fs::rename(entry.path(), upper.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Publishes layers that perhaps nobody has read.
    fn publish_unread(&self, files: &Files) -> Result<(), StepError> {
        for (index, made) in files.made.iter().enumerate() {
            if made.id().is_none() && made.digest_if_known().is_none() {
                let below = Files { base: files.base.clone(), made: files.made.iter().take(index).cloned().collect() };
                let options = DiffOptions {
                    mtimes: self.options.times.of_files(),
                    began: Some(Time::default()),
                    ..DiffOptions::default()
                };
                made.clean(&below.directories(self.store)?, false, options)?.run();
            }
        }
        self.publish(vec![(files.clone(), Over::Anchor)]).map(drop)
    }

    /// A container over other layers in the place of one that has nothing of its own.
    fn replace(&self, keeper: &WorkingContainer<'b>, top: Option<LayerId>) -> Result<WorkingContainer<'b>, StepError> {
        let options = FromOptions {
            suffix: None,
            name: Some(keeper.name().to_owned()),
            format: self.options.format,
            platform: self.options.plan.platform.clone(),
        };
        let image = keeper.state().image_id.as_ref().map(|id| crate::image::Image::find(self.store, id.as_str()));
        let image = image.transpose()?;
        self.store.delete_container(keeper.id())?;
        Ok(WorkingContainer::of_build(self.store, image.as_ref(), top, &options, String::new())?)
    }
}
