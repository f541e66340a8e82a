//! One stage: from FROM to its image, or to the container that later stages read from.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use dockerfile::instruction::Kind;
use dockerfile::{Instruction, Source};
use oci::{Format, History};

use super::error::{BuildError, StepError};
use super::options::{Keep, LayerStyle};
use super::{Build, Done, pull_borrowed};
use super::{copy_step, origin, run_step, workdir_step};
use crate::commit::{Afterwards, CommitOptions, Committed, Layers, commit, commit_and_continue};
use crate::context::NamedContext;
use crate::copy::{self, CopyOptions, Tree};
use crate::event::{Event, RunningStep, StepId, StepOutcome};
use crate::image::Image;
use crate::plan::{Base, Stage};
use crate::stage_state::StageState;
use crate::step::{Action, Step};
use crate::transfer::pull::{PullOptions, PullPolicy, resolve_or_pull};
use crate::working_container::{BASE_DIGEST, BASE_NAME, FromOptions, WorkingContainer};

/// A stage that is being built.
pub(super) struct StageBuild<'a, 'b, 's> {
    pub build: &'a mut Build<'b, 's>,
    pub stage: &'a Stage,
    pub container: WorkingContainer<'s>,
    pub state: StageState,
    role: Role,
    position: Option<(usize, usize)>,
    /// The step that is under way.
    step: Option<RunningStep<'b>>,
    /// What is in the upper dir and belongs to a layer that is not sealed yet.
    pending: Option<Pending>,
    /// The base image, if the stage begins with one.
    image: Option<Image>,
}

/// What becomes of a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The image that is asked for.
    Target,
    /// The base of a later stage.
    Base,
    /// Files for a later stage: no layer is made.
    Files,
}

/// Changes that wait for the end of their layer.
struct Pending {
    created_by: String,
    stubs: Vec<PathBuf>,
}

impl<'a, 'b, 's> StageBuild<'a, 'b, 's> {
    /// FROM: finds or pulls the base and makes the container.
    pub fn begin(
        build: &'a mut Build<'b, 's>,
        stage: &'a Stage,
        position: usize,
        stages: &[Stage],
    ) -> Result<StageBuild<'a, 'b, 's>, BuildError> {
        let role = match stage {
            _ if position + 1 == stages.len() => Role::Target,
            Stage { is_base: true, .. } => Role::Base,
            _ => Role::Files,
        };
        let position = (stages.len() > 1).then_some((position + 1, stages.len()));
        let id = StepId { stage: position, number: 1, total: stage.instructions.len() + 1 };
        let step = RunningStep::begin(build.events, id, &stage.from.text);
        let source = build.source;
        let failed = |error: StepError| BuildError::step(source, stage.from.span, error);
        let image = base_image(build, stage).map_err(failed)?;
        let options =
            FromOptions { name: None, format: build.options.format, platform: build.options.plan.platform.clone() };
        let mut container =
            WorkingContainer::with_metadata(build.store, image.as_ref(), &options, build.record.metadata())
                .map_err(|error| failed(error.into()))?;
        build.containers.push(container.id().clone());
        if let (Base::Stage(index), Some(image)) = (&stage.base, &image) {
            // The base that counts for the result is the image that the first stage began with.
            let annotations = image.manifest().annotations();
            let state = container.state_mut();
            for name in [BASE_NAME, BASE_DIGEST] {
                match annotations.get(name) {
                    Some(value) => _ = state.annotations.insert(name.to_owned(), value.clone()),
                    None => _ = state.annotations.remove(name),
                }
            }
            state.image = build.done.get(index).map(|done| done.base_name.clone()).unwrap_or_default();
        }
        let config = container.state().config.clone();
        let base = match &stage.base {
            Base::Stage(index) => build.done.get(index),
            _ => None,
        };
        let mut state = match base {
            Some(base) => StageState::on_stage(&base.state, config),
            None => StageState::new(build.scope.clone(), config),
        };
        if matches!(stage.base, Base::Image(_) | Base::Context(_)) {
            if !build.options.inherit_labels {
                state.config.config.labels.clear();
            }
            if !build.options.inherit_annotations {
                container.state_mut().annotations.clear();
            }
        }
        for (name, value) in &build.options.env {
            state.config.config.set_env(name, value);
        }
        Ok(StageBuild { build, stage, container, state, role, position, step: Some(step), pending: None, image })
    }

    /// All instructions, then the result; gives the image if this is the target.
    pub fn run(mut self) -> Result<Option<Committed>, BuildError> {
        let span = self.stage.from.span;
        self.copy_context().map_err(|error| BuildError::step(self.build.source, span, error))?;
        self.run_instructions()?;
        self.finish()
    }

    /// FROM a named context that is a directory: its files are what the stage begins with.
    fn copy_context(&mut self) -> Result<(), StepError> {
        let Base::Context(name) = &self.stage.base else { return Ok(()) };
        let NamedContext::Directory { dir, ignore } = origin::context(self.build, name)? else { return Ok(()) };
        let everything = vec![copy::Source::Path(".".to_owned())];
        let mut options = CopyOptions::new(everything, Tree::Directory(dir.clone()), "/");
        options.ignore = ignore.clone();
        let digest = copy::copy(&self.container, &options)?;
        let created_by = format!("/bin/sh -c #(nop) COPY {digest} in / ");
        self.pending = Some(Pending { created_by, stubs: Vec::new() });
        Ok(())
    }

    fn run_instructions(&mut self) -> Result<(), BuildError> {
        let triggers = self.triggers()?;
        for (source, instruction) in &triggers {
            self.instruction(source, instruction)?;
        }
        let stage = self.stage;
        for (index, instruction) in stage.instructions.iter().enumerate() {
            if matches!(instruction.kind, Kind::Run(_) | Kind::Copy(_) | Kind::Add(_)) {
                self.seal_pending().map_err(|error| BuildError::step(self.build.source, instruction.span, error))?;
            }
            // Making its layer was part of the step before.
            self.end_step();
            let id = StepId { stage: self.position, number: index + 2, total: stage.instructions.len() + 1 };
            self.step = Some(RunningStep::begin(self.build.events, id, &instruction.text));
            let source = self.build.source;
            self.instruction(source, instruction)?;
        }
        self.end_step();
        Ok(())
    }

    fn end_step(&mut self) {
        if let Some(step) = self.step.take() {
            step.end(StepOutcome::Done);
        }
    }

    /// The step that is under way, for what its program writes.
    pub fn step_id(&self) -> Option<StepId> {
        self.step.as_ref().map(RunningStep::id)
    }

    /// ONBUILD triggers of the base, which are used up here.
    fn triggers(&mut self) -> Result<Vec<(Source, Instruction)>, BuildError> {
        let texts = std::mem::take(&mut self.state.config.config.on_build);
        let mut triggers = Vec::with_capacity(texts.len());
        for text in texts {
            let name = format!("ONBUILD of {}", self.stage.from.text);
            let source = Source::new(name, text.as_bytes());
            let read = dockerfile::parse_instructions(&source);
            let errors: Vec<_> = read.errors().cloned().collect();
            if !errors.is_empty() {
                return Err(BuildError::file(&source, errors));
            }
            (self.build.events)(Event::Info(format!("ONBUILD {text}")));
            triggers.extend(read.instructions.into_iter().map(|instruction| (source.clone(), instruction)));
        }
        Ok(triggers)
    }

    fn instruction(&mut self, source: &Source, instruction: &Instruction) -> Result<(), BuildError> {
        if self.build.options.cancelled.load(Ordering::Relaxed) {
            return Err(BuildError::Interrupted);
        }
        let step = self.state.apply(instruction).map_err(|error| BuildError::file(source, vec![error]))?;
        self.build.consumed.extend(self.state.declared().map(str::to_owned));
        if let (Some(name), Format::Oci, Role::Target) = (step.lost_in_oci, self.build.options.format, self.role) {
            let place = super::Place::new(source, step.span).position;
            (self.build.events)(Event::Warning(format!(
                "{place}: {name} has no place in the OCI format and is left out of the image: --format docker keeps it"
            )));
        }
        let failed = |error: StepError| BuildError::step(source, step.span, error);
        match &step.action {
            Action::Config => self.note(&step).map_err(failed)?,
            Action::Workdir(path) => {
                self.sync_config();
                match workdir_step::is_missing(&self.container, path).map_err(failed)? {
                    true => {
                        self.open_layer(&step).map_err(failed)?;
                        workdir_step::make(&self.container, path).map_err(failed)?;
                    }
                    false => self.note(&step).map_err(failed)?,
                }
            }
            Action::Run(run) => {
                self.open_layer(&step).map_err(failed)?;
                let stubs = run_step::run(self, source, step.span, run)?;
                if let Some(pending) = &mut self.pending {
                    pending.stubs.extend(stubs);
                }
            }
            Action::Copy(copy) => {
                self.open_layer(&step).map_err(failed)?;
                let created_by = copy_step::copy(self, source, step.span, copy)?;
                if let Some(pending) = &mut self.pending {
                    pending.created_by = created_by;
                }
            }
        }
        Ok(())
    }

    /// What was stated so far counts for the container too.
    fn sync_config(&mut self) {
        let config = &mut self.container.state_mut().config;
        config.config = self.state.config.config.clone();
        config.author.clone_from(&self.state.config.author);
    }

    /// An entry in the history for a step that changes no file.
    fn note(&mut self, step: &Step) -> Result<(), StepError> {
        let entry = self.entry(step.created_by.clone(), true);
        let state = self.container.state_mut();
        match self.pending {
            Some(_) => state.appended_empty_layers.push(entry),
            None => state.config.history.push(entry),
        }
        Ok(())
    }

    fn entry(&self, created_by: String, empty_layer: bool) -> History {
        let created = Some(self.build.options.times.created());
        let author = self.state.config.author.clone();
        History { created, created_by, author, empty_layer, ..History::default() }
    }

    /// Makes room for the changes of `step`: those before become a layer where each step has its own.
    fn open_layer(&mut self, step: &Step) -> Result<(), StepError> {
        self.seal_pending()?;
        if let Some(pending) = self.pending.take() {
            // One layer for several steps: the last one has it in the history.
            let entry = self.entry(pending.created_by, true);
            let state = self.container.state_mut();
            let appended = std::mem::take(&mut state.appended_empty_layers);
            state.config.history.push(entry);
            state.config.history.extend(appended);
            self.pending = Some(Pending { created_by: step.created_by.clone(), stubs: pending.stubs });
        }
        self.sync_config();
        self.pending
            .get_or_insert_with(|| Pending { created_by: String::new(), stubs: Vec::new() })
            .created_by
            .clone_from(&step.created_by);
        Ok(())
    }

    /// Ends the layer that is waiting, where each step has its own.
    fn seal_pending(&mut self) -> Result<(), StepError> {
        if self.build.options.layers != LayerStyle::PerStep || self.role == Role::Files {
            return Ok(());
        }
        self.pending.take().map_or(Ok(()), |pending| self.seal(pending))
    }

    /// The upper dir becomes a layer, and the container goes on over it.
    fn seal(&mut self, pending: Pending) -> Result<(), StepError> {
        let options = CommitOptions {
            format: Some(self.build.options.format),
            times: self.build.options.times,
            stubs: pending.stubs,
            ..CommitOptions::default()
        };
        self.container.state_mut().created_by = pending.created_by;
        let (committed, layer) = commit_and_continue(&mut self.container, &options)?;
        // The image before it has done its service: this one reaches its layers too.
        let image = committed.image_id;
        if let Some(earlier) = self.build.unfinished.insert(self.stage.index, image.clone()).filter(|old| *old != image)
        {
            self.build.remove_image(&earlier)?;
        }
        (self.build.events)(Event::StepDone { id: layer.to_string() });
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Committed>, BuildError> {
        if self.role == Role::Files {
            self.sync_config();
            let saved = self.container.save();
            saved.map_err(|error| BuildError::step(self.build.source, self.stage.from.span, error))?;
            let last_reader = self.stage.last_reader;
            let base_name = self.container.state().image.clone();
            let done = Done { state: self.state, base_name, last_reader, image: None, container: Some(self.container) };
            self.build.done.insert(self.stage.index, done);
            return Ok(None);
        }
        let place = (self.build.source, self.stage.from.span);
        match self.commit() {
            Ok(committed) => Ok(committed),
            Err(error) => Err(BuildError::step(place.0, place.1, error)),
        }
    }

    fn commit(mut self) -> Result<Option<Committed>, StepError> {
        let options = self.build.options;
        let is_target = self.role == Role::Target;
        if is_target {
            let first = options.names.first().map(ToString::to_string);
            (self.build.events)(Event::Commit { name: first });
            if let Some(image) = self.unchanged_base() {
                return self.tag(&image).map(Some);
            }
            self.last_words();
        }
        self.sync_config();
        let layers = match (options.layers, &self.pending) {
            (LayerStyle::WithBase, _) if is_target => Layers::Squash,
            (_, Some(_)) => Layers::Append,
            (_, None) => Layers::Keep,
        };
        let pending = self.pending.take();
        let state = self.container.state_mut();
        if let Some(pending) = &pending {
            state.created_by.clone_from(&pending.created_by);
        }
        let commit_options = CommitOptions {
            // With outputs, the names come when those are written.
            names: if is_target && options.outputs.is_empty() { options.names.clone() } else { Vec::new() },
            format: Some(options.format),
            layers,
            times: options.times,
            afterwards: if options.keep == Keep::Always { Afterwards::Keep } else { Afterwards::Remove },
            omit_history: is_target && options.omit_history,
            created_annotation: is_target && options.created_annotation,
            unset_env: if is_target { options.unset_env.clone() } else { Vec::new() },
            identity_label: options.identity_label.clone().filter(|_| is_target),
            stubs: pending.map(|pending| pending.stubs).unwrap_or_default(),
            ..CommitOptions::default()
        };
        let base_name = self.container.state().image.clone();
        let committed = commit(self.container, &commit_options, self.build.events)?;
        if let Some(earlier) = self.build.unfinished.remove(&self.stage.index).filter(|old| *old != committed.image_id)
        {
            self.build.remove_image(&earlier)?;
        }
        (self.build.events)(Event::StepDone { id: committed.image_id.to_string() });
        if is_target {
            return Ok(Some(committed));
        }
        let last_reader = self.stage.last_reader;
        let done = Done { state: self.state, base_name, last_reader, image: Some(committed.image_id), container: None };
        self.build.done.insert(self.stage.index, done);
        Ok(None)
    }

    /// What the command line adds behind the last instruction.
    fn last_words(&mut self) {
        let options = self.build.options;
        let labels = &mut self.state.config.config.labels;
        for name in &options.unset_labels {
            labels.remove(name);
        }
        labels.extend(options.labels.iter().cloned());
        if !options.labels.is_empty() {
            let words: Vec<String> = options.labels.iter().map(|(name, value)| format!("{name:?}={value:?}")).collect();
            let entry = self.entry(format!("/bin/sh -c #(nop) LABEL {}", words.join(" ")), true);
            let state = self.container.state_mut();
            match self.pending {
                Some(_) => state.appended_empty_layers.push(entry),
                None => state.config.history.push(entry),
            }
        }
        let annotations = &mut self.container.state_mut().annotations;
        annotations.retain(|name, _| !options.unset_annotations.contains(name));
        annotations.extend(options.annotations.iter().cloned());
    }

    /// The base image, if it is also the result.
    fn unchanged_base(&self) -> Option<Image> {
        let options = self.build.options;
        let adds = !options.env.is_empty()
            || !options.unset_env.is_empty()
            || !options.labels.is_empty()
            || !options.unset_labels.is_empty()
            || !options.annotations.is_empty()
            || !options.unset_annotations.is_empty()
            || !options.inherit_labels
            || !options.inherit_annotations
            || options.omit_history
            || options.layers == LayerStyle::WithBase;
        let is_plain = self.stage.instructions.is_empty() && self.pending.is_none() && !adds;
        self.image.clone().filter(|_| is_plain && matches!(self.stage.base, Base::Image(_)))
    }

    fn tag(self, image: &Image) -> Result<Committed, StepError> {
        let names: Vec<String> = self.build.options.names.iter().map(ToString::to_string).collect();
        if !names.is_empty() && self.build.options.outputs.is_empty() {
            self.build.store.add_image_names(image.id(), &names)?;
        }
        (self.build.events)(Event::StepDone { id: image.id().to_string() });
        Ok(Committed { image_id: image.id().clone(), manifest: image.manifest().clone() })
    }
}

fn base_image(build: &mut Build<'_, '_>, stage: &Stage) -> Result<Option<Image>, StepError> {
    match &stage.base {
        Base::Scratch => Ok(None),
        Base::Image(name) => {
            let options = PullOptions { policy: build.options.pull, platform: build.options.plan.platform.clone() };
            Ok(Some(resolve_or_pull(build.store, build.remotes, name, &options, build.events)?))
        }
        Base::Context(name) => match origin::context(build, name)?.clone() {
            NamedContext::Directory { .. } => Ok(None),
            NamedContext::Image(image) => Ok(Some(pull_borrowed(build, &image)?)),
        },
        Base::Stage(index) => {
            let id = build.done.get(index).and_then(|done| done.image.as_ref());
            let id = id.ok_or_else(|| StepError::Value(format!("stage {index} has not been built")))?;
            let options = PullOptions { policy: PullPolicy::Never, platform: build.options.plan.platform.clone() };
            Ok(Some(resolve_or_pull(build.store, build.remotes, id.as_str(), &options, build.events)?))
        }
    }
}
