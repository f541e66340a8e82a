//! Builds for several platforms: an image for each, in a manifest list.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use buildkit_core::build::{
    BuildOptions, BuiltForPlatforms, PlatformsOptions, StepOutput, Together, build_platforms, common_platforms,
};
use buildkit_core::event::Event;
use buildkit_core::manifest_list;
use buildkit_core::output::Output;
use buildkit_core::plan::PlanOptions;
use buildkit_core::transfer::place::Places;
use oci::Platform;

use super::log_file::SplitLog;
use super::output::Outputs;
use super::report::report;
use super::{Args, agents, end_on_signals, options};
use crate::command_error::CommandError;
use crate::progress::{Display, Work, lines, print_line};
use crate::session::{Progress, Session};

/// Builds for `named`, or for all platforms if that is asked for.
pub(super) fn run(args: &Args, session: &Session, named: &[Platform]) -> Result<ExitCode, CommandError> {
    let about_one = args.output.of_one_image().or(args.sbom.of_one_image());
    if let Some(flag) = about_one.or(args.report.as_ref().map(|_| "--report")) {
        return Err(CommandError::new(format!(
            "{flag} is about one image, and builds for several platforms make more"
        )));
    }
    let outputs = args.output.resolve(session)?;
    let _log_file = args.log.open(None)?;
    let store = session.store()?;
    let remotes = session.remotes(&args.registry)?;
    let agents = agents(args, session)?;
    let contexts = args.context.open(session, &store, &remotes, &agents)?;
    let options = |platform: &Platform| options(args, session, &contexts, agents.clone(), Outputs::default(), platform);
    let platforms = match args.platform.all_platforms {
        false => named.to_vec(),
        true => {
            let events = session.events(Progress::Quiet);
            let places = Places { store: &store, remotes: &remotes, events: &events };
            let plan: PlanOptions = options(&Platform::host())?.plan;
            common_platforms(&places, &contexts.dockerfile, &plan).map_err(|error| {
                let (details, error) = report(&error, session.called_as_buildah());
                details.iter().for_each(|line| eprintln!("{line}"));
                error
            })?
        }
    };
    let mut builds = platforms.iter().map(options).collect::<Result<Vec<BuildOptions>, _>>()?;
    if let Some(first) = builds.first()
        && let Some(exit) = args.check.run(&store, &contexts.dockerfile, first)?
    {
        return Ok(exit);
    }
    outputs.list.as_ref().map_or(Ok(()), |list| manifest_list::check_name(&store, list))?;
    let split = args.log.open_split(&platforms)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    end_on_signals(&cancelled)?;
    // What goes to standard output is the result alone.
    let is_silent = outputs.stdout.is_some();
    let display = Display::new(session, &args.progress, args.quiet || is_silent, Work::Build)?;
    let output = if display.is_quiet() && split.is_none() { StepOutput::ErrorsOnly } else { StepOutput::Events };
    let mut together: Option<Arc<Together>> = None;
    let mut cache_budget = None;
    for build in &mut builds {
        cache_budget = build.cache_budget.take();
        build.on_failure = args.wreck.resolve(&cancelled)?;
        build.cancelled = cancelled.clone();
        build.run.output = output;
        build.together = Some(together.get_or_insert_with(|| Arc::new(Together::new(build.jobs()))).clone());
        // With Buildah the name goes from image to image.
        if session.called_as_buildah() {
            build.names.clone_from(&outputs.names);
            build.typed_name.clone_from(&outputs.typed_name);
        }
    }
    let usage = args.rusage.begin(args.quiet)?;
    let events = |event: Event| {
        let (event, platform) = event.and_platform();
        if let (Some(usage), Event::StepEnded { .. }) = (&usage, &event) {
            usage.log();
        }
        if args.cache.explain || !matches!(event, Event::Explanation(_)) {
            tell(event, platform, &display, split.as_ref());
        }
    };
    let Outputs { names, list, outputs, keep_image, stdout, .. } = outputs;
    let names = if session.called_as_buildah() { Vec::new() } else { names };
    let options = PlatformsOptions { builds, names, list, outputs, keep_images: keep_image, stdout, cache_budget };
    let built = build_platforms(&store, &remotes, &contexts.dockerfile, &options, &events).map_err(|error| {
        let (details, error) = report(&error, session.called_as_buildah());
        if let Some(split) = &split {
            details.iter().for_each(|line| split.write_to_all(line));
        }
        display.fail(&details, error)
    })?;
    let of_outputs = options.outputs.iter().flat_map(Output::store_names);
    let tagged: Vec<String> =
        options.names.iter().chain(&options.list).map(ToString::to_string).chain(of_outputs).collect();
    let images: Vec<_> = built.images.iter().map(|(_, committed)| &committed.image_id).collect();
    display.finish_builds(&store, &images, &tagged);
    print_ids(&built, split.as_ref(), is_silent);
    Ok(ExitCode::SUCCESS)
}

/// Tells of an event, in the platform's own log if there is one.
fn tell(event: Event, platform: Option<Platform>, display: &Display<'_>, split: Option<&SplitLog>) {
    let text = |event: Event| match event {
        Event::Warning(text) => Some(format!("warning: {text}")),
        event => lines::of_event(event),
    };
    match (split, platform) {
        (None, None) => display.event(event),
        (None, Some(platform)) => display.event(Event::OfPlatform { platform, event: Box::new(event) }),
        (Some(split), None) => text(event).iter().for_each(|line| split.write_to_all(line)),
        (Some(split), Some(platform)) => {
            text(event).iter().flat_map(|text| text.lines()).for_each(|line| split.write(&platform, line));
        }
    }
}

/// Prints the images' IDs in the order of their platforms.
fn print_ids(built: &BuiltForPlatforms, split: Option<&SplitLog>, is_silent: bool) {
    for (platform, committed) in &built.images {
        match split {
            Some(split) => split.write(platform, committed.image_id.as_str()),
            None if is_silent => {}
            None => print_line(committed.image_id.as_str()),
        }
    }
}
