//! Images from Dockerfiles: the plan's stages side by side, each a script over the same functions that
//! the commands use.
//!
//! ```text
//! Dockerfile ──plan──▶ stages, each on a thread of its own
//! stage: FROM ──pull──▶ files and config
//!        each instruction ──stage_state──▶ Step ──key──▶ index: an earlier layer, or
//!                                               └──▶ run / copy / make the directory in a staged layer
//!        a staged layer is read (digests, tar-split) on another thread, beside the next step
//! end:   all staged layers and the images over them are published at once
//! ```
//!
//! Until then no other tool sees anything of the build but a container for each stage that does
//! something, which keeps its base. A killed build leaves that and staged layers, which the next command
//! removes. What a failed build finished is published, for the next one to go on from.

mod ahead; // layers for caches elsewhere, while later steps run
mod base; // FROM
mod cached; // what earlier builds did
pub mod cached_step; // steps of scripts, on working containers
pub(crate) mod claims; // steps that two builds come to at once
mod copy_step; // COPY, ADD
mod draft; // what an image is to say of itself
mod error; // one line each, with the place in the file
mod explain; // why steps were done again
mod export; // --cache-to
mod import; // --cache-from
mod keep; // containers that are to stay
mod layers; // the files of a stage
mod on_failure; // a RUN that failed, in the caller's hands
mod options; // what to build, and how
mod origin; // --from, from=
mod platforms; // the same for several platforms
mod publish; // what was made becomes visible
pub(crate) mod record; // which builds are under way
mod result; // the image, the outputs, what a failed build leaves
mod run_step; // RUN
mod scan; // what the result is made of
mod schedule; // when stages are built
mod stage; // one stage, from FROM to its files
mod stage_images; // stages that are to be images
mod step_key; // what a step depends on
mod step_output; // what a step's program writes, as events
mod unfinished; // images over what failed builds finished
mod workdir_step; // WORKDIR

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard};
use std::time::Duration;

use dockerfile::lint::Finding;
use dockerfile::{Diagnostic, Source};
use oci::{ContainerId, ImageId, LayerId, Platform};
use store::{StagedLayer, Store};

use crate::cache::file_digests::FileDigests;
use crate::check::{self, CheckOptions};
use crate::commit::Committed;
use crate::event::{Event, Events};
use crate::image::Image;
use crate::plan::{self, Plan, Stage};
use crate::run::Stop;
use crate::stage_state::Scope;
use crate::transfer::pull::{PullOptions, PullPolicy, resolve_or_pull, resolve_or_pull_nameless};
use crate::transfer::{Cancel, Remotes, TransferError};
use crate::working_container::WorkingContainer;

use cached::{StepCache, Unrecorded};
pub use error::{BuildError, MOST_TOLD, Place, StepError};
use explain::StepLog;
pub use explain::{Explained, ExplainedStep, Explanation, FileChange, Reason};
use export::DoneStep;
use import::Imports;
use layers::{DigestJob, Files, Moves};
pub use on_failure::{AfterFailure, FailedRun, OnFailure};
pub use options::{Allowed, BuildOptions, CacheUse, Keep, LayerStyle, RunDefaults, StageImages, StepOutput};
pub use platforms::{BuiltForPlatforms, PlatformsOptions, Together, build_platforms, common_platforms};
use record::BuildRecord;
pub use schedule::Jobs;
use schedule::Schedule;
use stage::{StageResult, Wreck, build_stage};

/// A value that several threads use.
#[derive(Debug, Default)]
struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        // A panic elsewhere leaves whole entries only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all stages of a build share.
pub(crate) struct Build<'b> {
    store: &'b Store,
    remotes: &'b Remotes,
    source: &'b Source,
    options: &'b BuildOptions,
    events: Events<'b>,
    record: BuildRecord,
    plan: Plan,
    scope: Arc<Scope>,
    cache: Option<StepCache>,
    imports: Imports,
    schedule: Schedule<'b>,
    /// What each stage has done so far, by its position in the plan; the spare ones come last.
    works: Vec<Shared<Work>>,
    /// Paths of staged layers stay as they are while this is held for reading.
    moves: Moves,
    /// Layers that are of no use any more but may be mounted.
    discarded: Shared<Vec<StagedLayer>>,
    /// Where layers go to be read.
    digests: Shared<Option<Sender<DigestJob>>>,
    /// What is remembered of the files of each context.
    contexts: Shared<HashMap<PathBuf, Arc<FileDigests>>>,
    /// Images that stages begin with or read, by the name in the file and the platform.
    images: Shared<HashMap<(String, Platform), ImageOnce>>,
    /// Every container that was made; those left at the end are removed.
    containers: Shared<Vec<ContainerId>>,
    /// Those of stages that are done, by position.
    keepers: Shared<Vec<(usize, WorkingContainer<'b>)>>,
    /// Positions of failed stages whose container is to stay, whatever the options say.
    kept: Shared<Vec<usize>>,
    /// Nameless images that were only pulled or made for this build.
    borrowed: Shared<Vec<ImageId>>,
    /// Build arguments that an ARG asked for.
    consumed: Shared<BTreeSet<String>>,
    /// Why stages failed, the first one first.
    failures: Shared<Vec<BuildError>>,
    /// Set when a stage fails: commands that run are ended.
    stop: Arc<Stop>,
}

/// An image that is looked for once, by whoever wants it first.
type ImageOnce = Arc<Shared<Option<Image>>>;

/// What a stage has done so far.
#[derive(Debug)]
struct Work {
    files: Files,
    unrecorded: Vec<Unrecorded>,
    /// Every step with files, for caches elsewhere.
    steps: Vec<DoneStep>,
    /// Every step, for the explanation.
    logs: Vec<StepLog>,
}

/// What is left of stages that failed, by their position in the plan.
type Wrecks<'b> = Vec<(usize, Wreck<'b>)>;

/// How often the build looks whether another one waits for it.
const INTERVAL: Duration = Duration::from_millis(100);

/// Threads that read layers.
const READERS: usize = 4;

/// Builds the image that `source` describes. On an error nothing of it is left in the store but layers
/// of steps for later builds, unless [`BuildOptions::keep`] says otherwise.
pub fn build(
    store: &Store,
    remotes: &Remotes,
    source: &Source,
    options: &BuildOptions,
    events: Events<'_>,
) -> Result<Committed, BuildError> {
    let file = dockerfile::parse(source);
    let outline = plan::outline(&file, &options.plan);
    check_first(store, source, &file, &outline, options, events)?;
    let plan = outline.plan(&file, &options.plan).map_err(|error| BuildError::plan(source, error))?;
    for warning in &plan.warnings {
        events(Event::Warning(warning.line(source)));
    }
    if plan.stages.is_empty() {
        return Err(BuildError::file(source, &[Diagnostic::error("no stage to build", Default::default())]));
    }
    let scope = Scope {
        build_args: options.plan.build_args.clone(),
        global_args: plan.global_args.clone(),
        escape: plan.escape,
        put_in: Default::default(),
    };
    let scope = Arc::new(scope);
    let attempt = || Build::begin(store, remotes, source, options, events, (plan.clone(), scope.clone()));
    let build = attempt()?;
    let mut result = build.make();
    let mut consumed = std::mem::take(&mut *build.consumed.lock());
    if let Err(error) = &result
        && build.has_lost_layers(error)
    {
        events(Event::Warning(format!("{error}: somebody deleted what the build relied on: beginning anew")));
        drop(build);
        let again = attempt()?;
        result = again.make();
        consumed.append(&mut again.consumed.lock());
    }
    let committed = result?;
    warn_of_unused_arguments(&file, options, &scope, &consumed, events);
    Ok(committed)
}

/// Everything that is known to be wrong before the first step is done. An image that might be
/// pulled anew says nothing yet.
fn check_first(
    store: &Store,
    source: &Source,
    file: &dockerfile::Dockerfile,
    outline: &plan::Outline,
    options: &BuildOptions,
    events: Events<'_>,
) -> Result<(), BuildError> {
    let is_settled = matches!(options.pull, PullPolicy::Missing | PullPolicy::Never);
    let base = |name: &str| {
        let image = is_settled.then(|| Image::find(store, name).ok()).flatten();
        image.map(|image| image.config().clone())
    };
    let wanted = CheckOptions {
        plan: &options.plan,
        needed_only: true,
        ignore: &options.ignore,
        env: &options.env,
        base: &base,
    };
    let report = check::check_outline(source, file, outline, &wanted);
    if !report.errors.is_empty() {
        return Err(BuildError::file(source, &report.errors));
    }
    if let Some((message, hint)) = report.failures.into_iter().next() {
        return Err(BuildError::Target { message, hint });
    }
    if report.findings_are_errors && !report.findings.is_empty() {
        let errors: Vec<Diagnostic> = report.findings.iter().map(Finding::named).collect();
        return Err(BuildError::file(source, &errors));
    }
    let tell = |text| events(if options.warn_of_findings { Event::Warning(text) } else { Event::Info(text) });
    let told = report.findings.iter().take(MOST_TOLD);
    told.for_each(|finding| tell(finding.line(source)));
    if let Some(more) = report.findings.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        tell(format!("{more} more findings of rules: see them by --check"));
    }
    Ok(())
}

impl<'b> Build<'b> {
    fn begin(
        store: &'b Store,
        remotes: &'b Remotes,
        source: &'b Source,
        options: &'b BuildOptions,
        events: Events<'b>,
        (plan, scope): (Plan, Arc<Scope>),
    ) -> Result<Build<'b>, BuildError> {
        let private = store.private_directory()?;
        crate::prune::remove_leftovers(store);
        let record =
            BuildRecord::begin(&private).map_err(|error| BuildError::Record { dir: private.clone(), error })?;
        let stop = Stop::new().map_err(|error| BuildError::Record { dir: private.clone(), error })?;
        let nothing = || {
            let files = Files::of_base(None);
            Shared(Mutex::new(Work { files, unrecorded: Vec::new(), steps: Vec::new(), logs: Vec::new() }))
        };
        Ok(Build {
            store,
            remotes,
            source,
            options,
            events,
            record,
            schedule: Schedule::new(plan.stages.len(), plan.spare.len(), options.jobs(), events),
            works: plan.stages.iter().chain(&plan.spare).map(|_| nothing()).collect(),
            plan,
            scope,
            cache: StepCache::new(private, options.cache_use()),
            imports: Imports::new(options, events),
            moves: Moves::default(),
            discarded: Shared::default(),
            digests: Shared::default(),
            contexts: Shared::default(),
            images: Shared::default(),
            containers: Shared::default(),
            keepers: Shared(Mutex::new(Vec::new())),
            kept: Shared(Mutex::new(Vec::new())),
            borrowed: Shared::default(),
            consumed: Shared::default(),
            failures: Shared(Mutex::new(Vec::new())),
            stop: Arc::new(stop),
        })
    }

    /// Makes the image, and removes what is in the way.
    fn make(&self) -> Result<Committed, BuildError> {
        let (results, wrecks) = self.run_stages();
        let result = self.outcome(results).and_then(|committed| self.deliver_with_caches(committed));
        if let Err(error) = &result {
            self.leave_finished(error);
        }
        let explanation = self.explain(result.as_ref().ok().map(|committed| &committed.image_id));
        let has_grown = explanation.has_misses();
        let is_final = result.as_ref().err().is_none_or(|error| !self.has_lost_layers(error));
        if self.options.explain && is_final {
            (self.events)(Event::Explanation(explanation));
        }
        if is_final {
            self.keep_containers(result.is_ok(), wrecks);
        }
        self.clean_up();
        if let (Ok(committed), Some(budget), true) = (&result, self.options.cache_budget, has_grown) {
            trim_cache(self.store, budget, std::slice::from_ref(&committed.image_id), self.events);
        }
        result
    }

    /// Whether a step failed and layers that the build relied on are not there any more: those of an
    /// earlier build, or of a base image, which nothing keeps until something is done over them.
    fn has_lost_layers(&self, error: &BuildError) -> bool {
        let is_gone = |id: &LayerId| matches!(self.store.layer(id), Err(error) if error.is_not_found());
        let has_lost = |files: Files| {
            files.base.into_iter().chain(files.made.iter().filter_map(|made| made.id())).any(|id| is_gone(&id))
        };
        matches!(error, BuildError::Step { .. }) && (0..self.works.len()).any(|position| has_lost(self.files(position)))
    }

    /// Builds all stages; gives the results in the order of the file, none if one failed, and what is
    /// left of those that did.
    fn run_stages(&self) -> (Option<Vec<Arc<StageResult>>>, Wrecks<'b>) {
        let (sender, jobs) = channel::<DigestJob>();
        *self.digests.lock() = Some(sender);
        let jobs = Shared(Mutex::new(jobs));
        let wrecks = Shared(Mutex::new(Vec::new()));
        let no_use = Cancel::default();
        std::thread::scope(|scope| {
            let readers = std::thread::available_parallelism().map_or(1, usize::from).min(READERS);
            for _ in 0..readers {
                scope.spawn(|| read_layers(&jobs));
            }
            let needed = self.plan.stages.len();
            for position in 0..self.works.len() {
                let wrecks = &wrecks;
                scope.spawn(move || {
                    if position < needed || self.schedule.is_needed(position) {
                        self.run_stage(position, wrecks);
                    }
                });
            }
            scope.spawn(|| self.send_ahead(&no_use));
            loop {
                let have_ended = self.schedule.wait_for_all(INTERVAL);
                if self.is_over() {
                    no_use.set();
                }
                if have_ended {
                    break;
                }
                if let Err(error) = self.serve_waiting() {
                    (self.events)(Event::Debug(format!("publishing for another build: {error}")));
                }
            }
            // The readers end when they have read everything.
            *self.digests.lock() = None;
        });
        (self.results(), std::mem::take(&mut *wrecks.lock()))
    }

    fn results(&self) -> Option<Vec<Arc<StageResult>>> {
        let needed = self.plan.stages.len();
        let mut positions: Vec<usize> = (0..self.works.len()).collect();
        positions.retain(|position| *position < needed || self.schedule.result(*position).is_some());
        positions.sort_by_key(|position| self.stage(*position).map(|stage| stage.index));
        positions.into_iter().map(|position| self.schedule.result(position)).collect()
    }

    /// The stage at this position.
    fn stage(&self, position: usize) -> Option<&Stage> {
        self.plan.stages.iter().chain(&self.plan.spare).nth(position)
    }

    fn run_stage(&self, position: usize, wrecks: &Shared<Wrecks<'b>>) {
        /// Whatever ends the thread, nobody waits for its stage for ever.
        struct Ending<'a, 'b>(&'a Build<'b>, usize, Option<Arc<StageResult>>);
        impl Drop for Ending<'_, '_> {
            fn drop(&mut self) {
                if self.2.is_none() {
                    self.0.stop.set();
                }
                self.0.schedule.finish(self.1, self.2.take());
            }
        }
        let mut ending = Ending(self, position, None);
        let mut wreck = None;
        match build_stage(self, position, &mut wreck) {
            Ok(result) => ending.2 = Some(Arc::new(result)),
            Err(BuildError::Stopped) => {}
            Err(error) => self.failures.lock().push(error),
        }
        wrecks.lock().extend(wreck.map(|wreck| (position, wreck)));
    }

    /// The image, published with all that the build made.
    fn outcome(&self, results: Option<Vec<Arc<StageResult>>>) -> Result<Committed, BuildError> {
        let Some(results) = results else {
            let failures = std::mem::take(&mut *self.failures.lock());
            return Err(failures.into_iter().next().unwrap_or(BuildError::Interrupted));
        };
        let Some(target) = results.last() else { return Err(BuildError::Interrupted) };
        let span = self.plan.stages.last().map(|stage| stage.from.span).unwrap_or_default();
        let parts = self.scan(target)?;
        let committed = self.commit(&results, target, parts.as_ref());
        let committed = committed.map_err(|error| BuildError::step(self.source, span, error))?;
        parts.map_or(Ok(()), |parts| parts.write())?;
        (self.events)(Event::StepDone { id: committed.image_id.to_string(), is_cached: false });
        Ok(committed)
    }

    /// Removes what is in the way: containers, and images that nobody asked for. What cannot be
    /// removed is told.
    fn clean_up(&self) {
        let told = |what: &str, outcome: store::Result<()>| match outcome {
            Err(error) if !error.is_not_found() => (self.events)(Event::Warning(format!("{what} stays: {error}"))),
            _ => {}
        };
        let containers = std::mem::take(&mut *self.containers.lock());
        told("a working container", self.store.delete_containers(&containers).map(drop));
        for image in self.borrowed.lock().drain(..) {
            told(&format!("image {image}"), self.store.delete_nameless_image(&image).map(drop));
        }
    }

    /// What the stage at `position` has done so far.
    fn work(&self, position: usize) -> MutexGuard<'_, Work> {
        #[allow(clippy::indexing_slicing, reason = "every stage has one")]
        self.works[position].lock()
    }

    /// The files that the stage at `position` has so far.
    fn files(&self, position: usize) -> Files {
        self.work(position).files.clone()
    }

    /// The cache, if earlier results count.
    fn looked_at(&self) -> Option<&StepCache> {
        self.cache.as_ref().filter(|cache| cache.looks())
    }

    /// The position in the plan of the stage with this number in the file.
    fn position_of(&self, index: usize) -> Option<usize> {
        self.plan.stages.iter().chain(&self.plan.spare).position(|stage| stage.index == index)
    }

    /// Whether there is nothing to go on for.
    fn is_over(&self) -> bool {
        self.options.cancelled.load(Ordering::Relaxed) || self.schedule.has_failed()
    }

    fn why_over(&self) -> BuildError {
        match self.options.cancelled.load(Ordering::Relaxed) {
            true => BuildError::Interrupted,
            false => BuildError::Stopped,
        }
    }

    /// As long as this is held, staged layers stay where they are.
    fn hold_still(&self) -> RwLockReadGuard<'_, ()> {
        self.moves.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a layer read.
    fn digest(&self, job: DigestJob) {
        if let Some(sender) = &*self.digests.lock() {
            // Dropped, the job tells whoever waits.
            let _ = sender.send(job);
        }
    }

    /// What is remembered of the files in the directory `dir` of the host.
    fn file_digests(&self, dir: &Path) -> Option<Arc<FileDigests>> {
        let cache = self.cache.as_ref()?;
        let mut contexts = self.contexts.lock();
        let open = || Arc::new(FileDigests::open(&cache.private_directory, dir));
        Some(contexts.entry(dir.to_owned()).or_insert_with(open).clone())
    }

    /// The image `name`, found or pulled once for the whole build.
    fn image(&self, name: &str, platform: &Platform) -> Result<Image, StepError> {
        let name = &self.options.source_policy.image(name)?;
        let image = self.image_once(name, platform, || {
            let options = PullOptions { policy: self.options.pull, platform: platform.clone() };
            resolve_or_pull(self.store, self.remotes, name, &options, self.events)
        });
        Ok(image?)
    }

    /// The image of a named context. One that is no registry's has no name in the store, and goes when
    /// the build ends, unless it was there before.
    fn borrowed_image(&self, name: &str, platform: &Platform) -> Result<Image, StepError> {
        let name = &self.options.source_policy.image(name)?;
        let image = self.image_once(name, platform, || {
            let before: HashSet<ImageId> = self.store.images()?.into_iter().map(|image| image.id).collect();
            let options = PullOptions { policy: self.options.pull, platform: platform.clone() };
            let image = resolve_or_pull_nameless(self.store, self.remotes, name, &options, self.events)?;
            if image.record().names.is_empty() && !before.contains(image.id()) {
                self.borrowed.lock().push(image.id().clone());
            }
            Ok(image)
        });
        Ok(image?)
    }

    fn image_once(
        &self,
        name: &str,
        platform: &Platform,
        find: impl FnOnce() -> Result<Image, TransferError>,
    ) -> Result<Image, TransferError> {
        let entry = self.images.lock().entry((name.to_owned(), platform.clone())).or_default().clone();
        let mut image = entry.lock();
        match &*image {
            Some(image) => Ok(image.clone()),
            None => Ok(image.insert(find()?).clone()),
        }
    }
}

/// Keeps the cache to its budget. That it cannot be is no failure of the build.
fn trim_cache(store: &Store, budget: u64, results: &[ImageId], events: Events<'_>) {
    let errors = match crate::prune::trim(store, budget, results) {
        Ok(pruned) => pruned.errors,
        Err(error) => vec![error],
    };
    errors.iter().for_each(|error| events(Event::Warning(format!("trimming the cache: {error}"))));
}

fn warn_of_unused_arguments(
    file: &dockerfile::Dockerfile,
    options: &BuildOptions,
    scope: &Scope,
    consumed: &BTreeSet<String>,
    events: Events<'_>,
) {
    let declared: BTreeSet<&str> = file
        .instructions
        .iter()
        .filter_map(|instruction| match &instruction.kind {
            dockerfile::instruction::Kind::Arg(args) => Some(args.iter().map(|arg| arg.name.text.as_str())),
            _ => None,
        })
        .flatten()
        .collect();
    for name in options.plan.build_args.keys() {
        let is_predefined = crate::plan::PROXY_ARGS.contains(&name.as_str())
            || crate::plan::BUILDER_ARGS.contains(&name.as_str())
            || scope.global_args.contains_key(name);
        if !is_predefined && !declared.contains(name.as_str()) && !consumed.contains(name) {
            let near = dockerfile::diagnostic::nearest(name, declared.iter().copied());
            let hint = near.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            events(Event::Warning(format!("one or more build args were not consumed: [{name}]{hint}")));
        }
    }
}

/// Reads layers until there are no more.
fn read_layers(jobs: &Shared<Receiver<DigestJob>>) {
    loop {
        let job = jobs.lock().recv();
        match job {
            Ok(job) => job.run(),
            Err(_) => return,
        }
    }
}
