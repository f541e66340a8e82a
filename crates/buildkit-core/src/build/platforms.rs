//! One Dockerfile for several platforms: a build for each, which share the places for stages, and the
//! list of their images.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use dockerfile::Source;
use oci::index::Entry;
use oci::{ImageId, Platform, Reference};
use store::Store;

use super::{BuildError, BuildOptions, Jobs, build, trim_cache};
use crate::cache::place::CacheTo;
use crate::commit::Committed;
use crate::event::{Event, Events};
use crate::manifest_list::{self, ListError, Wanted, WhenThere, look_up};
use crate::output::{self, Output, OutputError};
use crate::plan::{self, Base, PlanOptions};
use crate::transfer::Remotes;
use crate::transfer::cache::export_index;
use crate::transfer::place::Places;

/// What to build for several platforms, and where it goes.
#[derive(Debug)]
pub struct PlatformsOptions {
    /// The builds, one a platform, together and without outputs.
    pub builds: Vec<BuildOptions>,
    /// Names of the list of their images, which are taken from what has them.
    pub names: Vec<Reference>,
    /// A list that the images are added to; it is made if there is none.
    pub list: Option<Reference>,
    /// Where the images go besides.
    pub outputs: Vec<Output>,
    /// Whether the store keeps the images even if no list has them.
    pub keep_images: bool,
    /// Where an output goes that is for standard output.
    pub stdout: Option<File>,
    /// [`BuildOptions::cache_budget`] of all builds together, which have none themselves.
    pub cache_budget: Option<u64>,
}

/// What builds for several platforms share.
#[derive(Debug)]
pub struct Together {
    pub(super) jobs: Jobs,
    /// What the builds have written of their caches.
    caches: Mutex<Vec<(CacheTo, Entry)>>,
}

impl Together {
    /// Builds that share these places for stages.
    pub fn new(jobs: Jobs) -> Together {
        Together { jobs, caches: Mutex::default() }
    }

    /// The cache of one platform is at its place, where an index is to lead to it.
    pub(super) fn add_cache(&self, to: CacheTo, entry: Entry) {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner).push((to, entry));
    }

    /// Writes the indexes of the caches.
    fn write_caches(&self, places: &Places<'_>) -> Result<(), BuildError> {
        let mut caches = std::mem::take(&mut *self.caches.lock().unwrap_or_else(PoisonError::into_inner));
        let architecture = |entry: &Entry| entry.platform.as_ref().map(|platform| platform.platform().to_string());
        caches.sort_by_cached_key(|(_, entry)| architecture(entry));
        while let Some((to, _)) = caches.first().cloned() {
            let (own, others): (Vec<_>, Vec<_>) = caches.into_iter().partition(|(other, _)| *other == to);
            caches = others;
            let entries = own.into_iter().map(|(_, entry)| entry).collect();
            match to.location.as_ref().map_or(Ok(()), |location| export_index(places, location, entries)) {
                Err(error) if to.ignores_error => {
                    (places.events)(Event::Warning(format!("the cache is not written to {to}: {error}")));
                }
                Err(error) => {
                    return Err(BuildError::Cache { to: to.to_string(), source: Box::new(error.into()) });
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct BuiltForPlatforms {
    /// The images, in the order of the builds.
    pub images: Vec<(Platform, Committed)>,
    /// The list of them, if there is one.
    pub list: Option<ImageId>,
}

/// Builds the image that `source` describes for each platform, all or none.
pub fn build_platforms(
    store: &Store,
    remotes: &Remotes,
    source: &Source,
    options: &PlatformsOptions,
    events: Events<'_>,
) -> Result<BuiltForPlatforms, BuildError> {
    options.outputs.iter().try_for_each(Output::check_several)?;
    let warned = &Mutex::default();
    let results: Vec<Result<Committed, BuildError>> = std::thread::scope(|scope| {
        let start = |options| scope.spawn(move || build_one(store, remotes, source, options, warned, events));
        let builds: Vec<_> = options.builds.iter().map(start).collect();
        let join = |build: std::thread::ScopedJoinHandle<'_, _>| match build.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        builds.into_iter().map(join).collect()
    });
    let mut images = Vec::new();
    let mut failure = None;
    for (options, result) in options.builds.iter().zip(results) {
        match result {
            Ok(committed) => images.push((options.plan.platform.clone(), committed)),
            // Of a build that was ended since another one failed, there is nothing to tell.
            Err(error) => {
                failure = match failure {
                    None | Some(BuildError::Interrupted) => Some(of_platform(&options.plan.platform, error)),
                    earlier => earlier,
                }
            }
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let list = deliver(store, remotes, options, &images, events)?;
    if let Some(together) = options.builds.first().and_then(|build| build.together.as_ref()) {
        together.write_caches(&Places { store, remotes, events })?;
    }
    Ok(BuiltForPlatforms { images, list })
}

/// A failure with its platform, if that may have to do with it.
fn of_platform(platform: &Platform, error: BuildError) -> BuildError {
    match error {
        BuildError::File { .. }
        | BuildError::Target { .. }
        | BuildError::WithoutCache { .. }
        | BuildError::Interrupted => error,
        error => BuildError::OfPlatform { platform: platform.clone(), error: Box::new(error) },
    }
}

/// The build for one platform; if it fails the others end too. `warned` are the warnings of all builds, each of
/// which is told once.
fn build_one(
    store: &Store,
    remotes: &Remotes,
    source: &Source,
    options: &BuildOptions,
    warned: &Mutex<HashSet<String>>,
    events: Events<'_>,
) -> Result<Committed, BuildError> {
    let platform = &options.plan.platform;
    let tell = |event| match event {
        Event::Warning(text) => {
            if warned.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
                events(Event::Warning(text));
            }
        }
        event => events(Event::OfPlatform { platform: platform.clone(), event: Box::new(event) }),
    };
    let result = build(store, remotes, source, options, &tell);
    if result.is_err() {
        options.cancelled.store(true, Ordering::Relaxed);
    }
    result
}

/// Writes the outputs, then makes the list.
fn deliver(
    store: &Store,
    remotes: &Remotes,
    options: &PlatformsOptions,
    images: &[(Platform, Committed)],
    events: Events<'_>,
) -> Result<Option<ImageId>, OutputError> {
    let images: Vec<(Platform, ImageId)> =
        images.iter().map(|(platform, committed)| (platform.clone(), committed.image_id.clone())).collect();
    let places = Places { store, remotes, events };
    for output in &options.outputs {
        output::platforms::write(places, &images, output, &options.names, options.stdout.as_ref())?;
    }
    let of_outputs = options.outputs.iter().flat_map(Output::store_names);
    let mut names: Vec<String> = options.names.iter().map(ToString::to_string).chain(of_outputs).collect();
    let list = match &options.list {
        Some(list) => Some(manifest_list::add_images(store, list, &images)?),
        None if names.is_empty() => None,
        None => {
            let first = names.remove(0);
            let name = Reference::parse_qualified(&first)
                .map_err(|error| OutputError::Text { text: error.text, reason: error.reason.to_owned() })?;
            let fill = |list: &mut manifest_list::ManifestList| list.add_images(store, &images);
            Some(manifest_list::create(store, &name, WhenThere::Replace, fill)?)
        }
    };
    if let Some(list) = list.as_ref().filter(|_| !names.is_empty()) {
        store.add_image_names(list, &names)?;
    }
    let are_wanted = list.is_some() || options.keep_images || options.outputs.is_empty();
    for ((_, image), build) in images.iter().zip(&options.builds) {
        // As a cache they may be wanted still.
        if !are_wanted && build.names.is_empty() && *build.cache_use() == super::CacheUse::None {
            store.delete_nameless_image(image)?;
        }
    }
    if let Some(budget) = options.cache_budget {
        let results: Vec<ImageId> = images.into_iter().map(|(_, image)| image).collect();
        trim_cache(store, budget, &results, events);
    }
    Ok(list)
}

/// The platforms that all images have in common with which the stages of `source` begin; `options` are those of
/// a build for any platform.
pub fn common_platforms(
    places: &Places<'_>,
    source: &Source,
    options: &PlanOptions,
) -> Result<Vec<Platform>, BuildError> {
    let file = dockerfile::parse(source);
    let plan = plan::outline(&file, options).plan(&file, options).map_err(|error| BuildError::plan(source, error))?;
    let mut common: Option<BTreeSet<Platform>> = None;
    for stage in &plan.stages {
        let Base::Image(name) = &stage.base else { continue };
        // A stage for a platform of its own is for that one in every build.
        if matches!(&stage.from.kind, dockerfile::instruction::Kind::From(from) if from.platform.is_some()) {
            continue;
        }
        let additions = look_up(places, name, &Wanted::All).map_err(|error| no_platforms(name, &error))?;
        let platforms = additions.into_iter().filter_map(|addition| addition.entry.platform);
        let platforms: BTreeSet<Platform> = platforms
            .map(|platform| platform.platform())
            .filter(|platform| platform.os == "linux" && !platform.architecture.is_empty())
            .collect();
        common = Some(match common {
            None => platforms,
            Some(common) => common.intersection(&platforms).cloned().collect(),
        });
    }
    match common {
        Some(common) if !common.is_empty() => Ok(common.into_iter().collect()),
        Some(_) => Err(BuildError::Platforms("the base images have no platform in common".to_owned())),
        None => Err(BuildError::Platforms("no stage begins with an image that says its platforms".to_owned())),
    }
}

fn no_platforms(name: &str, error: &ListError) -> BuildError {
    BuildError::Platforms(format!("the platforms of {name} are not known: {error}"))
}
