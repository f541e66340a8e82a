//! One stage: from FROM to its files and what its image is to say.
//!
//! ```text
//! each instruction ──stage_state──▶ Step ─┬─ config only: an entry in the history
//!                                         └─ files: key ──index──▶ an earlier build's layer
//!                                                     └─ else the step is done in a staged layer over
//!                                                        those before it, which is read beside the next
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dockerfile::instruction::Kind;
use dockerfile::{Instruction, Source, Span};
use jiff::Timestamp;
use layers::DiffOptions;
use oci::{Format, ImageConfig};
use rootfs::Time;
use store::{StagedLayer, StagedMount};

use super::base::{self, Start};
use super::cached::{Earlier, Origin, StepCache, Unrecorded};
use super::claims::{self, Claim};
use super::draft::Draft;
use super::error::{BuildError, StepError};
use super::explain::StepLog;
use super::export::DoneStep;
use super::layers::{Files, MadeLayer};
use super::options::{LayerStyle, StageImages};
use super::schedule::Place;
use super::stage_images::STAGE_LABELS;
use super::step_key::{self, StepParts};
use super::{Build, copy_step, origin, run_step, workdir_step};
use crate::cache::index::Record;
use crate::cache::key::Key;
use crate::commit::Times;
use crate::context::NamedContext;
use crate::event::{Event, RunningStep, StepId, StepOutcome, WaitsFor};
use crate::image::Image;
use crate::plan::{Base, Stage};
use crate::run::RunTarget;
use crate::sbom::ScanOptions;
use crate::stage_state::StageState;
use crate::step::{Action, Step};
use crate::working_container::{FromOptions, WorkingContainer};

/// A stage that is being built.
pub(super) struct StageBuild<'a, 'b> {
    pub build: &'a Build<'b>,
    pub stage: &'a Stage,
    pub state: StageState,
    /// Its number among those that are built.
    pub position: usize,
    pub place: Place<'a>,
    is_target: bool,
    draft: Draft,
    /// The base image, if the stage begins with one.
    image: Option<Image>,
    /// The key of the instructions so far.
    made_by: Key,
    /// Keeps the layers below from being deleted, and gives commands a name; made when the first step
    /// is really done.
    keeper: Option<WorkingContainer<'b>>,
    /// The layer of all steps, where not each has its own.
    open: Option<OpenLayer>,
    /// The step that is under way.
    step: Option<RunningStep<'b>>,
    was_cached: bool,
    /// Whether the last layer was given up, for the step to be done again.
    is_given_up: bool,
    /// What a step had written when it failed.
    wreck: Option<StagedLayer>,
}

/// A layer that several steps write to.
struct OpenLayer {
    mount: StagedMount,
    staged: StagedLayer,
    began: Time,
    stubs: Vec<PathBuf>,
    /// Whether a step wrote to it.
    is_written: bool,
}

/// A stage that is done.
#[derive(Debug)]
pub(super) struct StageResult {
    pub state: StageState,
    pub draft: Draft,
    pub files: Files,
    /// The key of its instructions.
    pub made_by: Key,
    /// The base image, if that is all there is to the stage.
    pub unchanged: Option<Image>,
}

/// What is left of a stage that has failed.
pub(super) struct Wreck<'b> {
    pub keeper: Option<WorkingContainer<'b>>,
    pub staged: Option<StagedLayer>,
    /// What its image would have said of itself.
    pub config: ImageConfig,
    pub draft: Draft,
}

/// What a step has done.
#[derive(Default)]
pub(super) struct Executed {
    /// What the history says of it, if that is known only now.
    pub created_by: Option<String>,
    /// Paths that were made for its mounts only.
    pub stubs: Vec<PathBuf>,
    /// Whether no file has changed.
    pub is_nothing: bool,
    /// Whether it counts for nothing: the step is to be done again, files and all.
    pub is_to_be_done_again: bool,
}

/// Where a step stands.
#[derive(Clone, Copy)]
pub(super) struct At<'i> {
    pub source: &'i Source,
    pub span: Span,
}

impl At<'_> {
    pub fn failed(self, error: impl Into<StepError>) -> BuildError {
        BuildError::step(self.source, self.span, error)
    }
}

/// Builds the stage at `position`; what is left of it if that fails is in `wreck`.
pub(super) fn build_stage<'b>(
    build: &Build<'b>,
    position: usize,
    wreck: &mut Option<Wreck<'b>>,
) -> Result<StageResult, BuildError> {
    let Some(stage) = build.stage(position) else { return Err(BuildError::Stopped) };
    let mut stage = StageBuild::begin(build, stage, position)?;
    let result = stage.run();
    match result {
        Ok(()) => Ok(stage.finish()),
        Err(error) => {
            let staged = stage.wreck.take().or(stage.open.take().map(|open| open.staged));
            let (config, draft) = (stage.state.config.clone(), stage.draft.clone());
            *wreck = Some(Wreck { keeper: stage.keeper.take(), staged, config, draft });
            Err(error)
        }
    }
}

impl<'a, 'b> StageBuild<'a, 'b> {
    /// FROM: finds or pulls the base.
    fn begin(build: &'a Build<'b>, stage: &'a Stage, position: usize) -> Result<StageBuild<'a, 'b>, BuildError> {
        let mut place = build.schedule.place(position);
        if build.is_over() {
            return Err(BuildError::Stopped);
        }
        // The base is waited for before the step is told of.
        if let Base::Stage(index) = &stage.base {
            let base = build.position_of(*index).ok_or(BuildError::Stopped)?;
            place.wait_for(base).map_err(|_| BuildError::Stopped)?;
        }
        let step = RunningStep::begin(build.events, step_id(build, stage, position, 1), &stage.from.text);
        let at = At { source: build.source, span: stage.from.span };
        let Start { draft, mut state, files, made_by, image } =
            base::start(build, stage).map_err(|error| at.failed(error))?;
        if build.options.stage_images == StageImages::Labelled && !stage.instructions.is_empty() {
            // Those of what it begins with say nothing of this stage.
            STAGE_LABELS.iter().for_each(|name| drop(state.config.config.labels.remove(*name)));
        }
        build.work(position).files = files;
        Ok(StageBuild {
            build,
            stage,
            state,
            position,
            place,
            is_target: position + 1 == build.plan.stages.len(),
            draft,
            image,
            made_by,
            keeper: None,
            open: None,
            step: Some(step),
            was_cached: false,
            is_given_up: false,
            wreck: None,
        })
    }

    /// All instructions.
    fn run(&mut self) -> Result<(), BuildError> {
        self.copy_context()?;
        for (source, instruction) in &self.triggers()? {
            self.instruction(source, instruction)?;
        }
        for (index, instruction) in self.stage.instructions.iter().enumerate() {
            self.end_step();
            let id = step_id(self.build, self.stage, self.position, index + 2);
            self.step = Some(RunningStep::begin(self.build.events, id, &instruction.text));
            self.instruction(self.build.source, instruction)?;
        }
        let at = At { source: self.build.source, span: self.stage.from.span };
        self.seal_open().map_err(|error| at.failed(error))?;
        self.end_step();
        Ok(())
    }

    fn finish(mut self) -> StageResult {
        let unchanged = self.unchanged_base();
        if self.is_target && unchanged.is_none() {
            self.last_words();
        }
        let files = self.build.work(self.position).files.clone();
        let StageBuild { state, draft, made_by, .. } = self;
        if let Some(keeper) = self.keeper.take() {
            self.build.keepers.lock().push((self.position, keeper));
        }
        StageResult { state, draft, files, made_by, unchanged }
    }

    /// FROM a named context that is a directory: its files are what the stage begins with.
    fn copy_context(&mut self) -> Result<(), BuildError> {
        let Base::Context(name) = &self.stage.base else { return Ok(()) };
        let at = At { source: self.build.source, span: self.stage.from.span };
        let context = origin::context(self.build, name).map_err(|error| at.failed(error))?;
        let NamedContext::Directory { dir, ignore } = context else { return Ok(()) };
        copy_step::everything(self, at, dir, ignore)
    }

    fn end_step(&mut self) {
        let was_cached = std::mem::take(&mut self.was_cached);
        if let Some(step) = self.step.take() {
            step.end(if was_cached { StepOutcome::Cached } else { StepOutcome::Done });
        }
    }

    /// The step that is under way, for what its program writes.
    pub fn step_id(&self) -> Option<StepId> {
        self.step.as_ref().map(RunningStep::id)
    }

    /// ONBUILD triggers of the base, which are used up here.
    fn triggers(&mut self) -> Result<Vec<(Source, Arc<Instruction>)>, BuildError> {
        let texts = std::mem::take(&mut self.state.config.config.on_build);
        let mut triggers = Vec::with_capacity(texts.len());
        for text in texts {
            let name = format!("ONBUILD of {}", self.stage.from.text);
            let source = Source::new(name, text.as_bytes());
            let read = dockerfile::parse_instructions(&source);
            let errors: Vec<_> = read.errors().cloned().collect();
            if !errors.is_empty() {
                return Err(BuildError::file(&source, &errors));
            }
            (self.build.events)(Event::Info(format!("ONBUILD {text}")));
            triggers.extend(read.instructions.into_iter().map(|instruction| (source.clone(), instruction)));
        }
        Ok(triggers)
    }

    fn instruction(&mut self, source: &Source, instruction: &Instruction) -> Result<(), BuildError> {
        if self.build.is_over() {
            return Err(self.build.why_over());
        }
        let step = self.state.apply(instruction).map_err(|error| BuildError::file(source, &[error]))?;
        self.build.consumed.lock().extend(self.state.declared().map(str::to_owned));
        if let (Some(name), Format::Oci, true) = (step.lost_in_oci, self.build.options.format, self.is_target) {
            let place = super::Place::new(source, step.span).position;
            let value = match &instruction.kind {
                Kind::Shell(words) => {
                    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                    format!(", [{}] is left out", words.join(" "))
                }
                _ => String::new(),
            };
            (self.build.events)(Event::Warning(format!(
                "{place}: {name} is not persisted in the OCI image format{value}: --format docker keeps it"
            )));
        }
        let at = At { source, span: step.span };
        match &step.action {
            Action::Config => {
                self.note(step.created_by.clone());
                self.log(at, None, false);
                // What an earlier build remembers needs no doing either.
                self.was_cached |= !matches!(instruction.kind, Kind::From(_)) && self.is_cached_so_far();
                Ok(())
            }
            Action::Workdir(path) => workdir_step::make(self, at, &step, path),
            Action::Run(run) => run_step::run(self, at, &step, run),
            Action::Copy(copy) => copy_step::copy(self, at, &step, copy),
        }
    }

    /// The cache, if earlier results count for this stage.
    pub fn looked_at(&self) -> Option<&'a StepCache> {
        self.build.looked_at().filter(|_| self.stage.uses_cache)
    }

    /// Whether all files so far are an earlier build's.
    fn is_cached_so_far(&self) -> bool {
        self.looked_at().is_some()
            && self.keeper.is_none()
            && self.build.work(self.position).unrecorded.iter().all(|step| step.origin.is_some())
    }

    /// An entry in the history for a step that changes no file.
    fn note(&mut self, created_by: String) {
        let created = self.build.options.times.created();
        self.draft.note(created_by, &self.state.config.author, created);
    }

    /// The layer of a step that writes files: an earlier build's, or what `execute` writes to the
    /// root file system that it is given. `is_fresh` gives it an empty one.
    pub fn make_layer(
        &mut self,
        at: At<'_>,
        step: &Step,
        parts: StepParts,
        is_fresh: bool,
        execute: impl FnOnce(&mut Self, &Path) -> Result<Executed, BuildError>,
    ) -> Result<(), BuildError> {
        if self.build.options.layers != LayerStyle::PerStep {
            return self.add_to_open(at, step, execute);
        }
        let claim_key = parts.claim(&self.made_by);
        let found = self.find(&parts).map_err(|error| at.failed(error))?;
        let (found, claim) = match found {
            Some(earlier) => (Some(earlier), None),
            None => self.claim(at, &claim_key, &parts)?,
        };
        let found = match found {
            None => self.find_elsewhere(&parts).map_err(|error| at.failed(error))?,
            found => found,
        };
        let (made_by, logged) = (self.made_by.clone(), self.build.work(self.position).logs.len());
        self.made_by = claim_key;
        self.log(at, Some(parts.clone()), found.is_some());
        if let Some(earlier) = found {
            self.was_cached = true;
            return self.take(earlier, step, parts, claim).map_err(|error| at.failed(error));
        }
        let began = now();
        let staged = self.build.store.stage_layer().map_err(|error| at.failed(error))?;
        let executed = if is_fresh {
            let dir = staged.diff_dir().to_owned();
            execute(self, &dir)
        } else {
            self.mount(&staged).map_err(|error| at.failed(error)).and_then(|mount| {
                let executed = execute(self, mount.path())?;
                mount.finish().map_err(|error| at.failed(error))?;
                Ok(executed)
            })
        };
        let executed = match executed {
            Ok(executed) => executed,
            Err(error) => {
                self.wreck = Some(staged);
                return Err(error);
            }
        };
        if executed.is_to_be_done_again {
            // What it depends on may be another now.
            self.build.work(self.position).logs.truncate(logged);
            (self.made_by, self.is_given_up) = (made_by, true);
            return Ok(());
        }
        let created_by = executed.created_by.unwrap_or_else(|| step.created_by.clone());
        let created = Timestamp::now();
        let before = self.build.work(self.position).files.made.len();
        let mut made = None;
        if executed.is_nothing {
            self.note(created_by.clone());
        } else {
            let layer = Arc::new(MadeLayer::staged(staged));
            let options = self.diff_options(began, executed.stubs);
            self.digest(&layer, is_fresh, options).map_err(|error| at.failed(error))?;
            self.build.work(self.position).files.made.push(layer.clone());
            self.draft.layer(created_by.clone(), &self.state.config.author, self.time_of(created));
            made = Some(layer);
        }
        let unrecorded = Unrecorded { parts, before, made, created_by, created, claim, origin: None };
        self.enter(unrecorded);
        Ok(())
    }

    /// The step is to be recorded.
    fn enter(&self, step: Unrecorded) {
        let Unrecorded { parts, before, made, created_by, created, .. } = &step;
        let done = || DoneStep {
            parts: parts.clone(),
            before: *before,
            made: made.clone(),
            created_by: created_by.clone(),
            created: *created,
        };
        self.build.note_step(self.position, done);
        if step.origin != Some(Origin::Here) {
            self.build.work(self.position).unrecorded.push(step);
        }
    }

    /// Whether [`StageBuild::make_layer`] made none, since the step is to be done again; asked once.
    pub fn was_given_up(&mut self) -> bool {
        std::mem::take(&mut self.is_given_up)
    }

    /// The name of the container that keeps the stage's base.
    pub fn container_name(&self) -> &str {
        self.keeper.as_ref().map_or("", WorkingContainer::name)
    }

    /// For the explanation.
    fn log(&self, at: At<'_>, parts: Option<StepParts>, is_hit: bool) {
        if self.build.cache.is_none() {
            return;
        }
        let Some(id) = self.step_id() else { return };
        let text = step_key::without_credentials(at.source.slice(at.span).trim());
        let mut work = self.build.work(self.position);
        let before = work.files.made.len();
        work.logs.push(StepLog { id, text, parts, before, is_hit });
    }

    /// The time of a step in the history, which was really done at `created`.
    fn time_of(&self, created: Timestamp) -> Timestamp {
        match self.build.options.times {
            Times::Now => created,
            times => times.created(),
        }
    }

    fn diff_options(&self, began: Time, exclude: Vec<PathBuf>) -> DiffOptions {
        DiffOptions {
            mtimes: self.build.options.times.of_files(),
            exclude,
            began: Some(began),
            ..DiffOptions::default()
        }
    }

    /// Has the layer read, beside what comes next. `is_fresh` knows nothing of what is below.
    fn digest(&self, layer: &Arc<MadeLayer>, is_fresh: bool, options: DiffOptions) -> Result<(), StepError> {
        let job = {
            let _still = self.build.hold_still();
            let lowers = self.build.work(self.position).files.directories(self.build.store)?;
            layer.clean(&lowers, is_fresh, options)?
        };
        self.build.digest(job);
        Ok(())
    }

    /// Mounts a staged layer over the files so far, for this thread to see.
    fn mount(&mut self, staged: &StagedLayer) -> Result<StagedMount, StepError> {
        self.ensure_keeper()?;
        let _still = self.build.hold_still();
        let lowers = self.build.work(self.position).files.directories(self.build.store)?;
        Ok(self.build.store.mount_staged(staged, &lowers)?)
    }

    /// From now on, the layers below are kept, and mounts are this thread's own.
    fn ensure_keeper(&mut self) -> Result<(), StepError> {
        if self.keeper.is_some() {
            return Ok(());
        }
        store::enter_private_mounts()?;
        let build = self.build;
        let options = FromOptions {
            name: None,
            suffix: None,
            format: build.options.format,
            platform: self.stage.platform.clone(),
        };
        let (below, _) = build.work(self.position).files.stored();
        let keeper =
            WorkingContainer::of_build(build.store, self.image.as_ref(), below, &options, build.record.metadata())?;
        build.containers.lock().push(keeper.id().clone());
        self.keeper = Some(keeper);
        Ok(())
    }

    /// What a command is run with, in the root file system at `rootfs`.
    pub fn with_target<T>(&mut self, rootfs: &Path, action: impl FnOnce(RunTarget<'_>) -> T) -> Result<T, StepError> {
        self.ensure_keeper()?;
        let Some(keeper) = &self.keeper else { return Err(StepError::Value("the stage has no container".to_owned())) };
        let image_id = keeper.state().image_id.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(action(RunTarget {
            store: self.build.store,
            rootfs,
            config: &self.state.config.config,
            name: keeper.name(),
            id: keeper.id().as_str(),
            image: (&self.draft.base_name, &image_id),
            directory: &self.build.store.container_directory(keeper.id())?,
        }))
    }

    /// A step that writes to the layer of all steps.
    fn add_to_open(
        &mut self,
        at: At<'_>,
        step: &Step,
        execute: impl FnOnce(&mut Self, &Path) -> Result<Executed, BuildError>,
    ) -> Result<(), BuildError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let staged = self.build.store.stage_layer().map_err(|error| at.failed(error))?;
                let mount = self.mount(&staged).map_err(|error| at.failed(error))?;
                OpenLayer { mount, staged, began: now(), stubs: Vec::new(), is_written: false }
            }
        };
        let executed = execute(self, open.mount.path());
        let executed = match executed {
            Ok(executed) => executed,
            Err(error) => {
                self.open = Some(open);
                return Err(error);
            }
        };
        self.note(executed.created_by.unwrap_or_else(|| step.created_by.clone()));
        open.stubs.extend(executed.stubs);
        open.is_written |= !executed.is_nothing;
        self.open = Some(open);
        Ok(())
    }

    /// The layer of all steps is complete.
    fn seal_open(&mut self) -> Result<(), StepError> {
        let Some(open) = self.open.take().filter(|open| open.is_written) else { return Ok(()) };
        self.draft.one_layer();
        open.mount.finish()?;
        let layer = Arc::new(MadeLayer::staged(open.staged));
        // Who only reads files of the stage needs no digest of them.
        if self.is_target || self.stage.is_base || self.build.options.stage_images != StageImages::None {
            self.digest(&layer, false, self.diff_options(open.began, open.stubs))?;
        }
        self.build.work(self.position).files.made.push(layer);
        Ok(())
    }

    /// What an earlier build made of the same step, and the layer if it is to be copied.
    fn find(&mut self, parts: &StepParts) -> Result<Option<Earlier>, StepError> {
        let Some(cache) = self.looked_at() else { return Ok(None) };
        let files = self.build.work(self.position).files.clone();
        let count = files.made.len();
        if files.key_if_known(count).is_none() || !parts.is_known() {
            // It is worth waiting only for what may be there.
            if !cache.index.has_kind(&parts.kind()) {
                return Ok(None);
            }
            self.place.while_away(WaitsFor::Digests, || -> Result<(), StepError> {
                files.key(count)?;
                parts.whole(None).map(drop)
            })?;
            self.build.settle(self.position)?;
        }
        let parent = files.key(count)?;
        self.build.find(cache, parts, &parent, &files)
    }

    /// Whether an earlier build did the same with the very layers that the step reads.
    pub fn is_known_to_hit(&mut self, parts: &StepParts) -> Result<bool, StepError> {
        // A cache elsewhere is to have the step under its other keys, too.
        if !self.build.options.cache_to.is_empty() {
            return Ok(false);
        }
        // A layer that would be copied is found again when it is taken.
        let parts = StepParts { is_independent: false, ..parts.clone() };
        Ok(self.find(&parts)?.is_some())
    }

    /// Claims a step, waiting for whoever is doing it; gives the result if there is one then.
    fn claim(
        &mut self,
        at: At<'_>,
        key: &Key,
        parts: &StepParts,
    ) -> Result<(Option<Earlier>, Option<Claim>), BuildError> {
        let Some(cache) = self.looked_at() else { return Ok((None, None)) };
        let failed = |error: std::io::Error| at.failed(error);
        let dir = claims::directory(&cache.private_directory);
        if let Some(claim) = Claim::try_new(&dir, key).map_err(failed)? {
            return Ok((None, Some(claim)));
        }
        let build = self.build;
        let wait = || Claim::wait(&dir, key, &|| build.is_over());
        let claim = self.place.while_away(WaitsFor::OtherBuild, wait).map_err(failed)?;
        let Some(claim) = claim else { return Err(build.why_over()) };
        let found = self.find(parts).map_err(|error| at.failed(error))?;
        Ok((found, Some(claim)))
    }

    /// Goes on over what an earlier build made.
    fn take(
        &mut self,
        Earlier { record, copy, origin }: Earlier,
        step: &Step,
        parts: StepParts,
        claim: Option<Claim>,
    ) -> Result<(), StepError> {
        let author = self.state.config.author.clone();
        let Record { made, created_by, created, .. } = record;
        // Only what a copy says of itself follows from what it read; the rest may be spelled otherwise.
        let created_by = match &step.action {
            Action::Copy(_) => created_by,
            _ if step.created_by.is_empty() => created_by,
            _ => step.created_by.clone(),
        };
        let shown = self.time_of(created);
        let before = self.build.work(self.position).files.made.len();
        let made = match made {
            None => {
                self.draft.note(created_by.clone(), &author, shown);
                None
            }
            Some((id, content)) => {
                (self.build.events)(Event::StepDone { id: id.to_string(), is_cached: true });
                let layer = Arc::new(copy.unwrap_or_else(|| MadeLayer::stored(id, content)));
                self.build.work(self.position).files.made.push(layer.clone());
                self.draft.layer(created_by.clone(), &author, shown);
                Some(layer)
            }
        };
        self.enter(Unrecorded { parts, before, made, created_by, created, claim, origin: Some(origin) });
        Ok(())
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
            self.note(format!("/bin/sh -c #(nop) LABEL {}", words.join(" ")));
        }
        let annotations = &mut self.draft.annotations;
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
            || options.scan.as_ref().is_some_and(ScanOptions::changes_image)
            || options.layers == LayerStyle::WithBase;
        let is_plain = self.is_target && self.stage.instructions.is_empty() && !adds;
        let has_files = !self.build.work(self.position).files.made.is_empty();
        self.image.clone().filter(|_| is_plain && !has_files && matches!(self.stage.base, Base::Image(_)))
    }
}

/// A step's key to begin with.
pub(super) fn own_parts(stage: &StageBuild<'_, '_>) -> StepParts {
    let options = stage.build.options;
    StepParts { own: step_key::begin(options.times, &stage.stage.platform.to_string()), ..StepParts::default() }
}

fn step_id(build: &Build<'_>, stage: &Stage, position: usize, number: usize) -> StepId {
    // A spare stage is one more than was known of.
    let stages = build.plan.stages.len().max(position + 1);
    StepId { stage: (stages > 1).then_some((position + 1, stages)), number, total: stage.instructions.len() + 1 }
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time { seconds: i64::try_from(now.as_secs()).unwrap_or_default(), nanoseconds: now.subsec_nanos() }
}
