//! `--cache-to`: the build's steps for builds elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use oci::{DiffId, ImageConfig};
use store::Layer;

use super::error::{BuildError, StepError};
use super::layers::MadeLayer;
use super::step_key::StepParts;
use super::{Build, Committed};
use crate::cache::place::{CacheTo, Extent};
use crate::cache::steps::{self, CachedStep};
use crate::commit::Times;
use crate::event::Event;
use crate::plan::Base;
use crate::transfer::cache::{export, export_part};
use crate::transfer::place::Places;

/// A step that was done, or that an earlier build had done.
#[derive(Clone, Debug)]
pub(super) struct DoneStep {
    pub parts: StepParts,
    /// How many layers the stage had made before.
    pub before: usize,
    /// The layer; none if nothing changed.
    pub made: Option<Arc<MadeLayer>>,
    pub created_by: String,
    pub created: Timestamp,
}

impl Build<'_> {
    /// Notes a step of the stage at `position`, if somebody wants to know of it.
    pub(super) fn note_step(&self, position: usize, step: impl FnOnce() -> DoneStep) {
        if !self.options.cache_to.is_empty() {
            let step = step();
            self.work(position).steps.push(step);
        }
    }

    /// Writes the outputs and, beside that, the caches.
    pub(super) fn deliver_with_caches(&self, committed: Committed) -> Result<Committed, BuildError> {
        if self.options.cache_to.iter().all(|to| to.location.is_none()) {
            return self.deliver(committed);
        }
        if self.cache.is_none() {
            let text = "no cache is written: the build makes no layers of steps";
            (self.events)(Event::Warning(text.to_owned()));
            return self.deliver(committed);
        }
        std::thread::scope(|scope| {
            let exports = scope.spawn(|| self.export_all());
            let delivered = self.deliver(committed);
            let exported = exports.join().unwrap_or(Err(BuildError::Interrupted));
            let committed = delivered?;
            exported.map(|()| committed)
        })
    }

    fn export_all(&self) -> Result<(), BuildError> {
        let mut first = Ok(());
        for to in &self.options.cache_to {
            match self.export(to) {
                Err(error) if to.ignores_error => {
                    (self.events)(Event::Warning(format!("the cache is not written to {to}: {error}")));
                }
                Err(error) => {
                    let failed = BuildError::Cache { to: to.to_string(), source: Box::new(error) };
                    first = first.and(Err(failed));
                }
                Ok(()) => {}
            }
        }
        first
    }

    fn export(&self, to: &CacheTo) -> Result<(), StepError> {
        let Some(location) = &to.location else { return Ok(()) };
        let mut config = ImageConfig::new(&self.options.plan.platform);
        let mut layers: Vec<Layer> = Vec::new();
        let steps = self.steps(to.extent, &mut |made| {
            // Where another layer stands for this one, too, it is in no store.
            let Some(layer) = made.id().map(|id| self.store.layer(&id)).transpose()? else { return Ok(None) };
            let Some(diff_id) = layer.diff_id.clone() else { return Ok(None) };
            if let Some(index) = config.rootfs.diff_ids.iter().position(|known| *known == diff_id) {
                return Ok(Some(index));
            }
            config.rootfs.diff_ids.push(diff_id);
            layers.push(layer);
            Ok(Some(config.rootfs.diff_ids.len() - 1))
        })?;
        if steps.is_empty() {
            (self.events)(Event::Info(format!("the cache is not written to {to}: there are no steps for it")));
            return Ok(());
        }
        steps::write(&mut config, &steps);
        let places = Places { store: self.store, remotes: self.remotes, events: self.events };
        let count = layers.len();
        match &self.options.together {
            None => drop(export(&places, location, &config, layers, to.compression)?),
            Some(together) => {
                let entry = export_part(&places, location, &config, layers, to.compression)?;
                together.add_cache(to.clone(), entry);
            }
        }
        (self.events)(Event::Info(format!("the cache is written to {to}: {} steps, {count} layers", steps.len())));
        Ok(())
    }

    /// `config`, with the steps of the image if it is to be a cache itself. `layers` are the image's.
    pub(super) fn with_inline_cache(
        &self,
        config: &ImageConfig,
        layers: &[(DiffId, u64)],
    ) -> Result<ImageConfig, StepError> {
        let mut config = config.clone();
        let is_wanted = self.options.cache_to.iter().any(|to| to.location.is_none());
        let mut steps = Vec::new();
        if is_wanted && self.cache.is_some() {
            steps = self.steps(Extent::Result, &mut |made| {
                let diff_id = self.diff_id(made)?;
                Ok(layers.iter().position(|(known, _)| *known == diff_id))
            })?;
            if self.options.times != Times::Now {
                // The image is to be the same whenever it is built.
                steps.iter_mut().for_each(|step| step.created = self.options.times.created());
            }
        }
        // What the base image says of its steps is not said again.
        steps::write(&mut config, &steps);
        Ok(config)
    }

    fn diff_id(&self, made: &MadeLayer) -> Result<DiffId, StepError> {
        let diff_id = match made.id() {
            Some(id) => self.store.layer(&id)?.diff_id,
            None => made.digest()?.new.map(|new| new.diff_id),
        };
        diff_id.ok_or_else(|| StepError::Value("a layer has no digest".to_owned()))
    }

    /// The steps for a cache, in the order of the stages. `place` says where a layer is in it, if it is.
    fn steps(
        &self,
        extent: Extent,
        place: &mut dyn FnMut(&MadeLayer) -> Result<Option<usize>, StepError>,
    ) -> Result<Vec<CachedStep>, StepError> {
        let target = self.files(self.plan.stages.len().saturating_sub(1));
        let below = self.below_target();
        let is_wanted = |position: usize, step: &DoneStep| match (extent, &step.made) {
            (Extent::AllStages, _) => true,
            (Extent::Result, Some(made)) => target.made.iter().any(|other| Arc::ptr_eq(made, other)),
            (Extent::Result, None) => below.contains(&position),
        };
        let mut steps = Vec::new();
        for position in 0..self.works.len() {
            let (files, done) = {
                let work = self.work(position);
                (work.files.clone(), work.steps.clone())
            };
            for step in done.iter().filter(|step| is_wanted(position, step)) {
                let parent = files.key(step.before)?;
                let made = match &step.made {
                    Some(made) => match place(made)? {
                        Some(index) => Some((index, made.digest()?.content)),
                        None => continue,
                    },
                    None => None,
                };
                steps.push(CachedStep {
                    keys: step.parts.all(&parent)?.iter().map(|parts| parts.key()).collect(),
                    kind: step.parts.kind(),
                    made,
                    created_by: step.created_by.clone(),
                    created: step.created,
                });
            }
        }
        Ok(steps)
    }

    /// The target's position, and those of the stages that it begins with.
    pub(super) fn below_target(&self) -> BTreeSet<usize> {
        let mut below = BTreeSet::new();
        let mut next = self.plan.stages.len().checked_sub(1);
        while let Some(position) = next.filter(|position| below.insert(*position)) {
            next = match self.stage(position).map(|stage| &stage.base) {
                Some(Base::Stage(index)) => self.position_of(*index),
                _ => None,
            };
        }
        below
    }
}
