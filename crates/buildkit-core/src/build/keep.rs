//! Working containers that are to stay when the build has ended.

use layers::DiffOptions;
use oci::ContainerId;
use rootfs::Time;

use super::error::StepError;
use super::layers::Files;
use super::options::Keep;
use super::publish::Over;
use super::stage::Wreck;
use super::{Build, Wrecks};
use crate::event::Event;
use crate::working_container::{FromOptions, WorkingContainer};

impl<'b> Build<'b> {
    /// Gives the containers that are to stay the files of their stages: of a stage that is done, all;
    /// of one that failed, what its steps wrote until then.
    pub(super) fn keep_containers(&self, succeeded: bool, wrecks: Wrecks<'b>) {
        let keepers = std::mem::take(&mut *self.keepers.lock());
        let done =
            keepers.into_iter().map(|(position, keeper)| (position, Wreck { keeper: Some(keeper), staged: None }));
        let (done, wrecks) = match self.options.keep {
            Keep::Always => (done.collect(), wrecks),
            Keep::OnFailure if !succeeded => (Vec::new(), wrecks),
            Keep::OnFailure | Keep::Nothing => {
                let kept = self.kept.lock();
                (Vec::new(), wrecks.into_iter().filter(|(position, _)| kept.contains(position)).collect())
            }
        };
        for (position, wreck) in done.into_iter().chain(wrecks) {
            let Some(keeper) = &wreck.keeper else { continue };
            let name = keeper.name().to_owned();
            if let Err(error) = self.keep(position, keeper, &wreck) {
                (self.events)(Event::Warning(format!("working container {name} has not all of its files: {error}")));
            }
        }
    }

    fn keep(&self, position: usize, keeper: &WorkingContainer<'b>, wreck: &Wreck<'b>) -> Result<(), StepError> {
        let files = self.work(position).files.clone();
        if files.stored().1 < files.made.len() {
            // Not even as layers of steps was any of it to stay: now the container needs it.
            self.publish_unread(&files)?;
        }
        let (top, _) = files.stored();
        let id = keeper.id().clone();
        let kept = match top == keeper.state().top_layer {
            true => id,
            false => self.replace(keeper, top)?,
        };
        self.containers.lock().retain(|other| *other != kept);
        if let Some(staged) = &wreck.staged {
            self.store.put_changes(&kept, staged)?;
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
    fn replace(&self, keeper: &WorkingContainer<'b>, top: Option<oci::LayerId>) -> Result<ContainerId, StepError> {
        let options = FromOptions {
            suffix: None,
            name: Some(keeper.name().to_owned()),
            format: self.options.format,
            platform: self.options.plan.platform.clone(),
        };
        let image = keeper.state().image_id.as_ref().map(|id| crate::image::Image::find(self.store, id.as_str()));
        let image = image.transpose()?;
        self.store.delete_container(keeper.id())?;
        let kept = WorkingContainer::of_build(self.store, image.as_ref(), top, &options, String::new())?;
        Ok(kept.id().clone())
    }
}
