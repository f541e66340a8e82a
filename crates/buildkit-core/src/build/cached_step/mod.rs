//! Steps of scripts that are not done again: a command in a working container, or a copy into one,
//! with the keys and the index of Dockerfile builds.
//!
//! ```text
//! container on its layers, nothing written ──key──▶ index ──▶ it goes on over the layer found
//!                                             └──▶ the step is done, what it wrote becomes a layer
//! ```
//! What was written to the container without a key becomes a layer of its own first: its content is
//! part of what the step depends on.

mod ground; // what a container stands on
mod key; // what a step depends on

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use layers::DiffOptions;
use oci::{History, ImageId, LayerId, Manifest, Platform};
use rootfs::{Root, Time};
use store::{AfterSeal, Driver, NewLayer, Store};

use super::cached::{StepCache, StepResult};
use super::claims::{self, Claim};
use super::draft::anchor;
pub(crate) use super::draft::image_key;
use super::error::StepError;
use super::layers::new_layer;
use super::options::CacheUse;
use super::step_key::StepParts;
use super::unfinished::Unfinished;
use crate::cache::index::{Index, Record};
use crate::cache::key::Key;
use crate::commit::{self, Times, recorded_layers};
use crate::copy::{CopyError, CopyOptions, Prepared};
use crate::event::{Event, Events};
use crate::image::Image;
use crate::run::{self, Exit, Outcome, RunOptions};
use crate::working_container::WorkingContainer;
pub(crate) use ground::{Ground, is_untouched, layers_below, settle};

/// What became of a command.
#[derive(Debug)]
pub enum Ran {
    /// It was run before; the container has what it wrote then.
    Cached,
    /// It was run now.
    Done(Outcome),
}

/// What to copy, and how the key is to tell of it.
pub struct CachedCopy<'a> {
    /// What to copy.
    pub options: &'a CopyOptions<'a>,
    /// The sources as the key has them; those of `options` may say where on the host they are.
    pub sources: Vec<String>,
    /// Directory of the host that sources are in: where it is does not count.
    pub base: Option<PathBuf>,
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Hex digest of what was copied.
    pub digest: String,
    /// Whether it was copied before.
    pub is_cached: bool,
}

/// Runs a command in `container`, unless it is known what that comes to: a command that has run
/// over the same files, with the same environment, mounts and so on. One that fails leaves what it wrote
/// in the container, as without the cache.
///
/// # Errors
/// The container is mounted: it may go on over other layers.
pub fn run(
    container: &mut WorkingContainer<'_>,
    options: RunOptions,
    times: Times,
    events: Events<'_>,
) -> Result<Ran, StepError> {
    let mut step = CachedStep::begin(container, times, events)?;
    let parts = key::of_command(step.container, &options, times)?;
    let Some(claim) = step.find_or_claim(&parts)? else { return Ok(Ran::Cached) };
    let began = now();
    let created_by = key::shown_command(&options.command);
    let outcome = run::run(step.container, options)?;
    if outcome.exit == Exit::Code(0) && outcome.interrupted_by.is_none() {
        step.finish(&parts, began, outcome.left_stubs.clone(), created_by)?;
    }
    drop(claim);
    Ok(Ran::Done(outcome))
}

/// Copies into `container`, unless it is known what that comes to: the same files copied to the
/// same place over the same files.
///
/// # Errors
/// The container is mounted: it may go on over other layers.
pub fn copy(
    container: &mut WorkingContainer<'_>,
    copy: &CachedCopy<'_>,
    times: Times,
    events: Events<'_>,
) -> Result<Copied, StepError> {
    let mut step = CachedStep::begin(container, times, events)?;
    let store = step.container.store();
    let mut prepared: Option<Prepared<'_, '_>> = None;
    let mut parts = key::of_copy(step.container, copy, times)?;
    // Layers are looked into only if those that are known do not tell enough.
    if parts.read.is_empty() || !step.find(&parts)? {
        let known = key::memory(store, copy)?;
        let digest = prepared.insert(Prepared::new(store, copy.options)?).digest(known.as_ref())?;
        // What is not remembered is read again.
        let _ = known.map(|known| known.save());
        key::add_sources(&mut parts, digest, copy);
    } else {
        return step.copied(true);
    }
    let Some(claim) = step.find_or_claim(&parts)? else { return step.copied(true) };
    let began = now();
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => Prepared::new(store, copy.options)?,
    };
    let mounted = store.mounted(step.container.id())?;
    let working_dir = &step.container.state().config.config.working_dir;
    let root = Root::open(mounted.path()).map_err(CopyError::from);
    let digest = root.and_then(|root| prepared.copy_into(&root, working_dir))?;
    mounted.unmount()?;
    step.finish(&parts, began, Vec::new(), key::shown_copy(copy, &digest.to_string()))?;
    drop(claim);
    step.copied(false)
}

/// A step that is under way.
struct CachedStep<'c, 's> {
    container: &'c mut WorkingContainer<'s>,
    ground: Ground,
    cache: StepCache,
    times: Times,
    events: Events<'c>,
    /// What the history says of the last step.
    created_by: String,
}

impl<'c, 's> CachedStep<'c, 's> {
    /// Makes what was written to the container a layer, so that all of it is known.
    fn begin(
        container: &'c mut WorkingContainer<'s>,
        times: Times,
        events: Events<'c>,
    ) -> Result<CachedStep<'c, 's>, StepError> {
        let store = container.store();
        if store.driver() == Driver::Vfs {
            return Err(StepError::Value("--cached is there with the storage driver overlay only".to_owned()));
        }
        if store.mounts()?.iter().any(|mount| mount.container.as_ref() == Some(container.id())) {
            return Err(StepError::Value(format!(
                "container {} is mounted: unmount it first, since with --cached it may go on over other layers",
                container.name()
            )));
        }
        let any_age = CacheUse::Use { max_age: None };
        let cache = StepCache::new(store.private_directory()?, &any_age);
        let cache = cache.ok_or_else(|| StepError::Value("there is no cache".to_owned()))?;
        let ground = settle(container)?;
        let mut step = CachedStep { container, ground, cache, times, events, created_by: String::new() };
        if !is_untouched(store, step.container.id())? {
            step.seal_unkeyed()?;
        }
        Ok(step)
    }

    /// What was written without a key, whenever that was since the container was made.
    fn seal_unkeyed(&mut self) -> Result<(), StepError> {
        let state = self.container.state();
        let entry = History {
            created: Some(self.time_of(Timestamp::now())),
            created_by: commit::created_by(self.container),
            author: state.config.author.clone(),
            comment: commit::comment(&state.history_comment, &state.image, state.prepended_empty_layers.is_empty()),
            empty_layer: false,
        };
        let made = self.container.record().created;
        let began = Time { seconds: made.as_second(), nanoseconds: made.subsec_nanosecond().unsigned_abs() };
        self.seal(began, Vec::new(), entry, None)?;
        self.container.state_mut().created_by.clear();
        Ok(self.container.save()?)
    }

    /// Whether the step was done before; then the container goes on over what it made.
    fn find(&mut self, parts: &StepParts) -> Result<bool, StepError> {
        let store = self.container.store();
        let key = self.ground.key();
        let Some(Record { made, created_by, created, .. }) = self.cache.find(store, parts, Some(&key))? else {
            return Ok(false);
        };
        let Some((layer, content)) = made else { return Ok(false) };
        let entry = self.entry(created_by.clone(), created);
        let made_by = parts.claim(&self.ground.made_by());
        let next = self.ground.with(layer.clone(), content, made_by);
        let moved = next.go_on(self.container, entry, |id| Ok(store.move_container(id, &layer)?));
        match moved {
            // Somebody has deleted it just now.
            Err(StepError::Store(error)) if error.is_not_found() => return Ok(false),
            moved => moved?,
        }
        self.ground = next;
        self.created_by = created_by;
        (self.events)(Event::StepDone { id: layer.to_string(), is_cached: true });
        Ok(true)
    }

    /// Like [`CachedStep::find`], but waits for whoever does the step just now. If nobody has done it,
    /// gives the claim that keeps others from doing it, too.
    fn find_or_claim(&mut self, parts: &StepParts) -> Result<Option<Claim>, StepError> {
        if self.find(parts)? {
            return Ok(None);
        }
        let key = parts.claim(&self.ground.made_by());
        let dir = claims::directory(&self.cache.private_directory);
        if let Some(claim) = Claim::try_new(&dir, &key)? {
            // Whoever had it may have let go of it just now.
            return Ok(if self.find(parts)? { None } else { Some(claim) });
        }
        let claim = Claim::wait(&dir, &key, &|| false)?;
        Ok(if self.find(parts)? { None } else { claim })
    }

    /// Makes what the step wrote a layer, and remembers it.
    fn finish(
        &mut self,
        parts: &StepParts,
        began: Time,
        stubs: Vec<PathBuf>,
        created_by: String,
    ) -> Result<(), StepError> {
        let parent = self.ground.key();
        let created = Timestamp::now();
        let entry = self.entry(created_by.clone(), created);
        self.seal(began, stubs, entry, Some(parts))?;
        let done = StepResult { made: self.ground.top_made(), created_by: &created_by, created, is_elsewhere: false };
        self.cache.enter(parts, &parent, &done)?;
        self.created_by = created_by;
        Ok(())
    }

    /// Makes what was written to the container since `began`, by `step` if that is known, a layer; or takes
    /// the layer that has the same files.
    fn seal(
        &mut self,
        began: Time,
        stubs: Vec<PathBuf>,
        entry: History,
        step: Option<&StepParts>,
    ) -> Result<(), StepError> {
        let store = self.container.store();
        let parent = self.ground.top();
        let lowers = match &parent {
            Some(top) => store.lower_directories(top)?,
            None => Vec::new(),
        };
        let lowers = lowers.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
        let options =
            DiffOptions { mtimes: self.times.of_files(), exclude: stubs, began: Some(began), ..DiffOptions::default() };
        let staged = store.stage_upper(self.container.id(), AfterSeal::Continue)?;
        let upper = Root::open(staged.diff_dir())?;
        let summary = layers::seal_in_place(&upper, &lowers, io::sink(), staged.tar_split_file()?, &options)
            .map_err(|error| StepError::Digest(error.into()))?;
        let missing = || StepError::Value("the layer's content has no digest".to_owned());
        let content = summary.content.clone().ok_or_else(missing)?;
        let files = self.ground.key().then(content.as_str());
        let before = self.ground.made_by();
        let made_by = step.map_or_else(|| before.then(content.as_str()), |parts| parts.claim(&before));
        if let Some(earlier) = self.cache.layer(store, &files)? {
            let next = self.ground.with(earlier.clone(), content, made_by);
            next.go_on(self.container, entry, |id| Ok(store.move_container(id, &earlier)?))?;
            self.ground = next;
            return Ok(());
        }
        let new = NewLayer { parent: parent.clone(), ..new_layer(summary) };
        let mut all = match &parent {
            Some(top) => recorded_layers(store, top)?,
            None => Vec::new(),
        };
        all.push((new.diff_id.clone(), new.diff_size));
        let layer = new.id();
        // Until there is an image of the container's, it keeps the layer in the store's reach.
        let image = anchor(&platform(self.container), &[], layer.clone(), &all)?;
        let image_id = image.id.clone();
        let next = self.ground.with(layer.clone(), content, made_by);
        next.go_on(self.container, entry, |_| Ok(store.publish(&[(staged, new)], vec![image]).map(drop)?))?;
        let _ = self.cache.index.put_layer(&files, &layer);
        let unfinished = Unfinished::new(&self.cache.private_directory);
        unfinished.note(&[image_id]);
        if let Some(parent) = parent {
            unfinished.remove_needless(store, &store.layer_stack(&parent)?.into_iter().map(|layer| layer.id).collect());
        }
        self.ground = next;
        Ok(())
    }

    /// The history's entry of a step that was done at `created`.
    fn entry(&self, created_by: String, created: Timestamp) -> History {
        let state = self.container.state();
        History {
            created: Some(self.time_of(created)),
            created_by,
            author: state.config.author.clone(),
            comment: commit::comment("", &state.image, true),
            empty_layer: false,
        }
    }

    fn time_of(&self, created: Timestamp) -> Timestamp {
        match self.times {
            Times::Now => created,
            times => times.created(),
        }
    }

    fn copied(&self, is_cached: bool) -> Result<Copied, StepError> {
        let digest = key::digest_of_copy(&self.created_by).to_owned();
        Ok(Copied { digest, is_cached })
    }
}

/// Removes images that only kept layers of steps in the store's reach, as the layers of another one do now.
pub(crate) fn remove_needless(store: &Store, top: &LayerId) -> store::Result<()> {
    let reached = store.layer_stack(top)?.into_iter().map(|layer| layer.id).collect();
    Unfinished::new(&store.private_directory()?).remove_needless(store, &reached);
    Ok(())
}

/// An image of the store with this key over the layer `top`.
pub(crate) fn earlier_image(store: &Store, key: &Key, top: Option<&LayerId>) -> Option<(ImageId, Manifest)> {
    let id = Index::new(&store.private_directory().ok()?).image(key)?;
    let record = store.image_by_id(&id).ok().filter(|record| record.layer.as_ref() == top)?;
    let image = Image::read(store, id.as_str(), record).ok()?;
    Some((id, image.manifest().clone()))
}

/// Remembers an image by its key. What cannot be written is lost for later commits only.
pub(crate) fn remember_image(store: &Store, key: &Key, image: &ImageId) {
    if let Ok(private) = store.private_directory() {
        let _ = Index::new(&private).put_image(key, image);
    }
}

/// The platform of the image to be.
fn platform(container: &WorkingContainer<'_>) -> Platform {
    let config = &container.state().config;
    Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: config.variant.clone() }
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time { seconds: i64::try_from(now.as_secs()).unwrap_or_default(), nanoseconds: now.subsec_nanos() }
}
