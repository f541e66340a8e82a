//! Images from Dockerfiles: the plan's stages one after the other, each a script over the same
//! functions that the commands use.
//!
//! ```text
//! Dockerfile ──plan──▶ stages
//! stage: FROM ──pull──▶ working container
//!        each instruction ──stage_state──▶ Step ──▶ run / copy / make the working directory
//!        before the next step with files of its own: the upper dir becomes a layer by rename
//! stage's end ──commit──▶ image;  a stage that is only read from stays a container
//! ```
//!
//! A layer that is done has a nameless image over it, which the next one replaces: even a killed
//! build leaves nothing that `rm` and `rmi --prune` don't find. Any other build removes its
//! containers and what its stages made, as there is no cache yet that could use it.

mod copy_step; // COPY, ADD
mod error; // one line each, with the place in the file
mod options; // what to build, and how
mod origin; // --from, from=
pub(crate) mod record; // which builds are under way
mod run_step; // RUN
mod stage; // one stage, from FROM to its result
mod step_output; // what a step's program writes, as events
mod workdir_step; // WORKDIR

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use dockerfile::{Diagnostic, Source};
use oci::{ContainerId, ImageId};
use store::Store;

use crate::check::{CheckOptions, check};
use crate::commit::Committed;
use crate::event::{Event, Events};
use crate::image::Image;
use crate::output::{self, Output};
use crate::plan::{Plan, PlanError, Stage, plan};
use crate::stage_state::{Scope, StageState};
use crate::transfer::place::Places;
use crate::transfer::pull::{PullOptions, PullPolicy, resolve_or_pull_nameless};
use crate::transfer::{Remotes, TransferError};
use crate::working_container::WorkingContainer;

pub use error::{BuildError, Place, StepError};
pub use options::{Allowed, BuildOptions, Keep, LayerStyle, RunDefaults, StepOutput};
use record::BuildRecord;
use stage::StageBuild;

/// What all stages of a build share.
pub(crate) struct Build<'b, 's> {
    store: &'s Store,
    remotes: &'b Remotes,
    source: &'b Source,
    options: &'b BuildOptions,
    events: Events<'b>,
    record: BuildRecord,
    plan: Plan,
    scope: Arc<Scope>,
    /// Results of the stages that are done, by their number in the file.
    done: BTreeMap<usize, Done<'s>>,
    /// Every container that was made; those left at the end are removed.
    containers: Vec<ContainerId>,
    /// Nameless images over what is done of stages whose own image is not made yet.
    unfinished: BTreeMap<usize, ImageId>,
    /// Images that were there before: none of them is ever removed.
    before: HashSet<ImageId>,
    /// Nameless images that were only pulled for this build.
    borrowed: Vec<ImageId>,
    /// Build arguments that an ARG asked for.
    consumed: BTreeSet<String>,
}

/// A stage that is done.
struct Done<'s> {
    state: StageState,
    /// Name of the image that it, or the stage it began with, began with.
    base_name: String,
    /// The last stage that reads its files.
    last_reader: Option<usize>,
    /// The image it became, for stages that begin with it.
    image: Option<ImageId>,
    /// The container it still is, for stages that read its files.
    container: Option<WorkingContainer<'s>>,
}

/// Builds the image that `source` describes. On an error nothing that was built is left in the
/// store, unless [`BuildOptions::keep`] says otherwise.
pub fn build(
    store: &Store,
    remotes: &Remotes,
    source: &Source,
    options: &BuildOptions,
    events: Events<'_>,
) -> Result<Committed, BuildError> {
    let file = dockerfile::parse(source);
    check_first(store, source, &file, options, events)?;
    let plan = plan(&file, &options.plan).map_err(|error| match error {
        PlanError::File(diagnostics) => BuildError::file(source, diagnostics),
        PlanError::Target(message, hint) => BuildError::Target { message, hint },
    })?;
    for warning in &plan.warnings {
        events(Event::Warning(warning.line(source)));
    }
    let scope = Scope {
        build_args: options.plan.build_args.clone(),
        global_args: plan.global_args.clone(),
        escape: plan.escape,
    };
    let before = store.images()?.into_iter().map(|image| image.id).collect();
    let private = store.private_directory()?;
    let record = BuildRecord::begin(&private).map_err(|error| BuildError::Record { dir: private, error })?;
    let mut build = Build {
        store,
        remotes,
        source,
        options,
        events,
        record,
        plan,
        scope: Arc::new(scope),
        done: BTreeMap::new(),
        containers: Vec::new(),
        unfinished: BTreeMap::new(),
        before,
        borrowed: Vec::new(),
        consumed: BTreeSet::new(),
    };
    let result = build.run().and_then(|committed| build.deliver(committed));
    build.clean_up(
        result.as_ref().ok().filter(|_| keeps_image(options)).map(|committed| &committed.image_id),
        result.is_ok(),
    );
    let committed = result?;
    build.warn_of_unused_arguments(&file);
    Ok(committed)
}

/// Everything that is known to be wrong before the first step is done. An image that might be
/// pulled anew says nothing yet.
fn check_first(
    store: &Store,
    source: &Source,
    file: &dockerfile::Dockerfile,
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
    let report = check(source, file, &wanted);
    if !report.errors.is_empty() {
        return Err(BuildError::file(source, report.errors));
    }
    if let Some((message, hint)) = report.failures.into_iter().next() {
        return Err(BuildError::Target { message, hint });
    }
    if report.findings_are_errors && !report.findings.is_empty() {
        return Err(BuildError::File {
            lines: report.findings.iter().map(|finding| finding.line(source)).collect(),
            rendered: report.findings.iter().map(|finding| finding.render(source)).collect(),
        });
    }
    report.findings.iter().for_each(|finding| events(Event::Warning(finding.line(source))));
    Ok(())
}

/// Whether the image itself is wanted, and not only what is made of it.
fn keeps_image(options: &BuildOptions) -> bool {
    options.outputs.is_empty() || options.keep_image || !options.names.is_empty()
}

/// The image of a named context. One that is no registry's has no name in the store, and goes when
/// the build ends.
fn pull_borrowed(build: &mut Build<'_, '_>, name: &str) -> Result<Image, TransferError> {
    let options = PullOptions { policy: build.options.pull, platform: build.options.plan.platform.clone() };
    let image = resolve_or_pull_nameless(build.store, build.remotes, name, &options, build.events)?;
    if image.record().names.is_empty() {
        build.borrowed.push(image.id().clone());
    }
    Ok(image)
}

impl<'s> Build<'_, 's> {
    fn run(&mut self) -> Result<Committed, BuildError> {
        let stages = std::mem::take(&mut self.plan.stages);
        let mut committed = None;
        for (position, stage) in stages.iter().enumerate() {
            self.drop_unread(stage);
            committed = StageBuild::begin(self, stage, position, &stages)?.run()?.or(committed);
        }
        // The last stage is the target, which is always committed.
        committed.ok_or_else(|| {
            BuildError::file(self.source, vec![Diagnostic::error("no stage to build", Default::default())])
        })
    }

    /// Removes the containers of stages that neither `stage` nor a later one reads.
    fn drop_unread(&mut self, stage: &Stage) {
        for done in self.done.values_mut() {
            let is_read = done.last_reader.is_some_and(|reader| reader >= stage.index);
            if let Some(container) = done.container.take_if(|_| !is_read) {
                // What is not removed now is removed at the end.
                let _ = container.remove();
            }
        }
    }

    /// Writes the outputs; the image gets its names when that went well.
    fn deliver(&mut self, committed: Committed) -> Result<Committed, BuildError> {
        let options = self.options;
        if options.outputs.is_empty() {
            return Ok(committed);
        }
        let id = &committed.image_id;
        if !self.before.contains(id) {
            self.borrowed.push(id.clone());
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

    /// Removes what is in the way: containers, and images that nobody asked for. What cannot be
    /// removed is told.
    fn clean_up(&mut self, result: Option<&ImageId>, succeeded: bool) {
        let keep = match self.options.keep {
            Keep::Nothing => false,
            Keep::OnFailure => !succeeded,
            Keep::Always => true,
        };
        let told = |what: &str, outcome: store::Result<()>| match outcome {
            Err(error) if !error.is_not_found() => (self.events)(Event::Warning(format!("{what} stays: {error}"))),
            _ => {}
        };
        if !keep {
            for id in &self.containers {
                told(&format!("working container {id}"), self.store.delete_container(id));
            }
        }
        let stages = self.unfinished.values().chain(self.done.values().filter_map(|done| done.image.as_ref()));
        for image in stages.filter(|_| !keep).chain(&self.borrowed).filter(|image| Some(*image) != result) {
            told(&format!("image {image}"), self.remove_image(image));
        }
        self.containers.clear();
        self.unfinished.clear();
        self.borrowed.clear();
        self.done.clear();
    }

    /// Removes a nameless image of this build; one that was there before, got a name, or is another
    /// build's too, stays.
    fn remove_image(&self, image: &ImageId) -> store::Result<()> {
        if self.before.contains(image) {
            return Ok(());
        }
        match self.store.delete_nameless_image(image) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn warn_of_unused_arguments(&self, file: &dockerfile::Dockerfile) {
        let declared: BTreeSet<&str> = file
            .instructions
            .iter()
            .filter_map(|instruction| match &instruction.kind {
                dockerfile::instruction::Kind::Arg(args) => Some(args.iter().map(|arg| arg.name.text.as_str())),
                _ => None,
            })
            .flatten()
            .collect();
        for name in self.options.plan.build_args.keys() {
            let is_predefined = crate::plan::PROXY_ARGS.contains(&name.as_str())
                || crate::plan::BUILDER_ARGS.contains(&name.as_str())
                || self.scope.global_args.contains_key(name);
            if !is_predefined && !declared.contains(name.as_str()) && !self.consumed.contains(name) {
                let near = dockerfile::diagnostic::nearest(name, declared.iter().copied());
                let hint = near.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
                (self.events)(Event::Warning(format!("no ARG asks for the build argument {name}{hint}")));
            }
        }
    }
}
