//! What a build leaves: the image, its outputs, and of a failed one the steps that were finished.

use std::collections::HashSet;
use std::sync::Arc;

use oci::{ContainerId, LayerId};

use super::Build;
use super::draft::{Draft, Ready};
use super::error::{BuildError, StepError};
use super::layers::{self, Files};
use super::options::{BuildOptions, LayerStyle};
use super::publish::Over;
use super::stage::StageResult;
use super::stage_images::StageIds;
use super::unfinished::Unfinished;
use crate::commit::Committed;
use crate::event::Event;
use crate::image::Image;
use crate::output::{self, Output};
use crate::sbom::Results;
use crate::transfer::place::Places;

/// Whether the image itself is wanted, and not only what is made of it.
fn keeps_image(options: &BuildOptions) -> bool {
    options.outputs.is_empty() || options.keep_image || !options.names.is_empty()
}

impl Build<'_> {
    pub(super) fn commit(
        &self,
        results: &[Arc<StageResult>],
        target: &Arc<StageResult>,
        parts: Option<&Results>,
    ) -> Result<Committed, StepError> {
        // With outputs, the names come when those are written.
        let names = if self.options.outputs.is_empty() { self.options.names.as_slice() } else { &[] };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let name = || self.options.names.first().map(ToString::to_string);
        (self.events)(Event::Commit { name: self.options.typed_name.clone().or_else(name) });
        for position in 0..self.works.len() {
            self.settle(position)?;
        }
        let with_parts = parts.map(|parts| self.with_parts(target, parts)).transpose()?.flatten();
        let (files, draft) = match &with_parts {
            Some((files, draft)) => (files, draft),
            None => (&target.files, &target.draft),
        };
        // Of all that was done, the history tells of the steps alone.
        let squashed = (self.options.layers == LayerStyle::WithBase)
            .then(|| self.squashed(files, target.draft.clone()))
            .transpose()?;
        let stage_ids = StageIds::default();
        let mut all: Vec<(Files, Over<'_>)> = self.stage_images(&stage_ids);
        if self.cache.is_some() && all.is_empty() {
            all.extend(self.stages_of_their_own(results).into_iter().map(|files| (files, Over::Anchor)));
        }
        if let Some(image) = &target.unchanged {
            self.publish(all)?;
            self.record_all()?;
            if !names.is_empty() {
                self.store.add_image_names(image.id(), &names)?;
            }
            return Ok(Committed { image_id: image.id().clone(), manifest: image.manifest().clone() });
        }
        let (files, draft) = match &squashed {
            Some((files, draft)) => (files, draft),
            None => (files, draft),
        };
        let names_of_new = names.clone();
        // The target is the last one that is needed.
        let target_position = self.plan.stages.len().saturating_sub(1);
        let make = |top: Option<LayerId>, layers: &[_]| -> Result<Ready, StepError> {
            let mut config = self.with_inline_cache(&target.state.config, layers)?;
            if let Some(stage) = self.plan.stages.last() {
                self.add_stage_labels(stage, &mut config.config.labels, &stage_ids);
            }
            let container = self.container_of(target_position);
            let mut ready = draft.image(&config, top.clone(), layers, self.options, true, container.as_ref())?;
            if let Some(earlier) = self.earlier_image(&ready, top.as_ref())? {
                ready = earlier;
            }
            if let Some(image) = &mut ready.image {
                image.names = names_of_new;
            }
            Ok(ready)
        };
        all.push((files.clone(), Over::Image(Box::new(make))));
        let mut published = self.publish(all)?;
        self.record_all()?;
        if let Some(cache) = &self.cache {
            for ready in published.iter().filter(|ready| cache.index.image(&ready.key).as_ref() != Some(&ready.id)) {
                let _ = cache.index.put_image(&ready.key, &ready.id);
            }
        }
        // The target's comes last.
        let ready = published.pop().ok_or_else(|| StepError::Value("no image was made".to_owned()))?;
        self.remove_needless(Some(files))?;
        // An image of an earlier build gets the names that it does not have.
        let record = self.store.image_by_id(&ready.id)?;
        if names.iter().any(|name| !record.names.contains(name)) {
            self.store.add_image_names(&ready.id, &names)?;
        }
        Ok(Committed { image_id: ready.id, manifest: ready.manifest })
    }

    /// The container in which the steps of the stage at `position` were done, if any was.
    fn container_of(&self, position: usize) -> Option<ContainerId> {
        let keepers = self.keepers.lock();
        let keeper = keepers.iter().find(|(of, _)| *of == position);
        keeper.map(|(_, container)| container.id().clone())
    }

    /// An image that an earlier build made and that says the same.
    pub(super) fn earlier_image(&self, ready: &Ready, top: Option<&LayerId>) -> Result<Option<Ready>, StepError> {
        let Some(cache) = self.looked_at() else { return Ok(None) };
        let Some(id) = cache.index.image(&ready.key) else { return Ok(None) };
        match self.store.image_by_id(&id) {
            Ok(record) if record.layer.as_ref() == top => {
                let image = Image::read(self.store, id.as_str(), record)?;
                let key = ready.key.clone();
                Ok(Some(Ready { id, manifest: image.manifest().clone(), key, image: None }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The files of the stages that no later stage has under its own, and that are new.
    fn stages_of_their_own(&self, results: &[Arc<StageResult>]) -> Vec<Files> {
        let is_under = |files: &Files, other: &Files| match files.made.last() {
            Some(last) => other.made.iter().any(|made| Arc::ptr_eq(made, last)),
            None => true,
        };
        let mut own = Vec::new();
        for (index, result) in results.iter().enumerate() {
            let later = results.iter().skip(index + 1);
            let is_new = result.files.stored().1 < result.files.made.len();
            if is_new
                && index + 1 < results.len()
                && !later.into_iter().any(|other| is_under(&result.files, &other.files))
            {
                own.push(result.files.clone());
            }
        }
        own
    }

    /// Everything that the files show as one layer.
    fn squashed(&self, files: &Files, mut draft: Draft) -> Result<(Files, Draft), StepError> {
        let tree = {
            let _still = self.hold_still();
            self.store.open_tree(&files.directories(self.store)?)?
        };
        let staged = self.store.stage_layer()?;
        let options = ::layers::DiffOptions {
            mtimes: self.options.times.of_files(),
            began: Some(rootfs::Time::default()),
            ..Default::default()
        };
        let (from, into) = (rootfs::Root::open(tree.path())?, rootfs::Root::open(staged.diff_dir())?);
        let tar_split = staged.tar_split_file()?;
        let summary = ::layers::seal_copy(&from, &[], &into, std::io::sink(), tar_split, &options)
            .map_err(|error| StepError::Digest(Arc::new(error)))?;
        draft.squash(self.options.times.created());
        let missing = || StepError::Value("the layer's content has no digest".to_owned());
        let content = summary.content.clone().ok_or_else(missing)?;
        let made = layers::MadeLayer::known(staged, layers::new_layer(summary), content);
        Ok((Files { base: None, made: vec![Arc::new(made)] }, draft))
    }

    fn record_all(&self) -> Result<(), StepError> {
        for digests in self.contexts.lock().values() {
            // What is not remembered is read again.
            let _ = digests.save();
        }
        (0..self.works.len()).try_for_each(|position| self.record(position))
    }

    /// Removes images over layers that images of this build reach: all of `target`, and what is below the
    /// top of any other stage.
    fn remove_needless(&self, target: Option<&Files>) -> Result<(), StepError> {
        let Some(cache) = &self.cache else { return Ok(()) };
        let mut reached = HashSet::new();
        let mut reach = |files: &Files, with_top: bool| -> Result<(), StepError> {
            if let Some(top) = files.stored().0 {
                let stack = self.store.layer_stack(&top)?.into_iter().map(|layer| layer.id);
                reached.extend(stack.filter(|id| with_top || *id != top));
            }
            Ok(())
        };
        (0..self.works.len()).try_for_each(|position| reach(&self.files(position), false))?;
        target.map_or(Ok(()), |files| reach(files, true))?;
        Unfinished::new(&cache.private_directory).remove_needless(self.store, &reached);
        Ok(())
    }

    /// Publishes what a failed build finished.
    pub(super) fn leave_finished(&self, error: &BuildError) {
        if self.cache.is_none() {
            return;
        }
        // A later stage's files may have an earlier one's below them.
        let kept = (0..self.works.len()).rev().map(|position| self.publish_read(position));
        // What cannot be kept of one stage is no reason to lose the others.
        let kept = kept.fold(Ok(()), Result::and);
        if let Err(other) = kept.and_then(|()| self.remove_needless(None)) {
            (self.events)(Event::Debug(format!("keeping what was finished before {error}: {other}")));
        }
        for digests in self.contexts.lock().values() {
            let _ = digests.save();
        }
    }

    /// Writes the outputs; the image gets its names when that went well.
    pub(super) fn deliver(&self, committed: Committed) -> Result<Committed, BuildError> {
        let options = self.options;
        if options.outputs.is_empty() {
            return Ok(committed);
        }
        let id = &committed.image_id;
        if self.cache.is_none() && !keeps_image(options) {
            self.borrowed.lock().push(id.clone());
        }
        let places = Places { store: self.store, remotes: self.remotes, events: self.events };
        for output in &options.outputs {
            output::write(places, id, output, &options.names, options.stdout.as_ref())?;
        }
        let mut names: Vec<String> = options.names.iter().map(ToString::to_string).collect();
        names.extend(options.outputs.iter().flat_map(Output::store_names));
        if !names.is_empty() {
            self.store.add_image_names(id, &names)?;
        }
        Ok(committed)
    }
}
