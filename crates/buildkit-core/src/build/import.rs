//! `--cache-from`: steps that builds elsewhere did.
//!
//! ```text
//! a step that the index does not know ──key──▶ what the cache's config says of its steps
//!                                              └──▶ the layer alone is fetched, staged, and later published
//! ```
//! A cache is opened at the first step that is not known here: manifest and config, nothing else. Whatever is
//! wrong with it is a warning, and the step is done.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use oci::LayerId;

use super::cached::{Earlier, Origin, StepCache, is_stored};
use super::error::StepError;
use super::layers::{Files, MadeLayer};
use super::options::{BuildOptions, LayerStyle};
use super::stage::StageBuild;
use super::step_key::StepParts;
use super::{Build, Shared};
use crate::cache::index::Record;
use crate::cache::key::{Key, Parts};
use crate::cache::place::CacheFrom;
use crate::cache::steps::{self, CachedStep, CachedSteps};
use crate::event::{Event, Events, WaitsFor};
use crate::transfer::cache::OpenedCache;

/// The caches that the build looks steps up in.
pub(super) struct Imports(Vec<Import>);

struct Import {
    from: CacheFrom,
    state: Shared<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Unopened,
    Open(Arc<OpenImport>),
    Useless,
}

/// A cache that has been opened.
struct OpenImport {
    from: CacheFrom,
    cache: OpenedCache,
    steps: CachedSteps,
    /// Layers that turned out to be of no use.
    bad: Shared<HashSet<usize>>,
}

impl Imports {
    /// Those that the options name. Nothing is opened yet.
    pub fn new(options: &BuildOptions, events: Events<'_>) -> Imports {
        if options.layers != LayerStyle::PerStep && !options.cache_from.is_empty() {
            events(Event::Warning("no cache is looked at: the build makes no layers of steps".to_owned()));
        }
        let import = |from: &CacheFrom| Import { from: from.clone(), state: Shared::default() };
        Imports(options.cache_from.iter().map(import).collect())
    }
}

impl Build<'_> {
    /// The caches that can be used, opened.
    fn open_imports(&self) -> Vec<Arc<OpenImport>> {
        self.imports.0.iter().filter_map(|import| self.open_import(import)).collect()
    }

    fn open_import(&self, import: &Import) -> Option<Arc<OpenImport>> {
        let mut state = import.state.lock();
        if matches!(*state, State::Unopened) {
            let opened = self.read_import(&import.from).unwrap_or_else(|reason| {
                (self.events)(Event::Warning(format!("the cache {} is not used: {reason}", import.from)));
                None
            });
            *state = opened.map_or(State::Useless, |opened| State::Open(Arc::new(opened)));
        }
        match &*state {
            State::Open(open) => Some(open.clone()),
            _ => None,
        }
    }

    fn read_import(&self, from: &CacheFrom) -> Result<Option<OpenImport>, String> {
        let platform = &self.options.plan.platform;
        let cache = OpenedCache::open(self.remotes, from.location(), platform, self.events);
        let Some(cache) = cache.map_err(|error| error.to_string())? else {
            (self.events)(Event::Info(format!("there is no cache at {from} yet")));
            return Ok(None);
        };
        let steps = steps::read(cache.config())?.ok_or("the image there says nothing of steps")?;
        (self.events)(Event::Info(format!("the cache {from} has {} steps", steps.len())));
        Ok(Some(OpenImport { from: from.clone(), cache, steps, bad: Shared::default() }))
    }

    /// The cache is of no use any more.
    fn give_up(&self, open: &OpenImport) {
        for import in self.imports.0.iter().filter(|import| import.from == open.from) {
            *import.state.lock() = State::Useless;
        }
    }

    /// What `open` has of a step over `files`, whose key is `parent`.
    fn import(
        &self,
        cache: &StepCache,
        open: &OpenImport,
        parts: &StepParts,
        parent: &Key,
        files: &Files,
    ) -> Result<Option<Earlier>, StepError> {
        for parts in parts.all(parent)? {
            let Some(step) = open.steps.get(&parts.key()).filter(|step| cache.is_recent(step.created)) else {
                continue;
            };
            let Some((index, content)) = &step.made else {
                return Ok(Some(earlier(step, parts, None)));
            };
            if open.bad.lock().contains(index) {
                continue;
            }
            let below = self.layer_id(files)?;
            let Some(diff_id) = open.cache.diff_id(*index) else { continue };
            let id = LayerId::of(below.as_ref(), diff_id);
            if is_stored(self.store, &id)? {
                let made = MadeLayer::stored(id.clone(), content.clone());
                return Ok(Some(earlier(step, parts, Some((id, made)))));
            }
            match open.cache.stage(self.store, *index, below, self.events) {
                Ok((staged, new)) => {
                    let _still = self.hold_still();
                    staged.reset_root(files.directories(self.store)?.first().map(PathBuf::as_path))?;
                    let made = MadeLayer::known(staged, new, content.clone());
                    return Ok(Some(earlier(step, parts, Some((id, made)))));
                }
                Err(error) => {
                    (self.events)(Event::Warning(format!("the cache {} is not used for a step: {error}", open.from)));
                    open.bad.lock().insert(*index);
                    if error.is_transient() {
                        self.give_up(open);
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The ID that the topmost layer has in the store, or will have.
    fn layer_id(&self, files: &Files) -> Result<Option<LayerId>, StepError> {
        let _still = self.hold_still();
        let (mut top, count) = files.stored();
        for made in files.made.iter().skip(count) {
            let new = made.digest()?.new.ok_or_else(|| StepError::Value("a layer is not where it was".to_owned()))?;
            top = Some(LayerId::of(top.as_ref(), &new.diff_id));
        }
        Ok(top)
    }
}

fn earlier(step: &CachedStep, parts: Parts, made: Option<(LayerId, MadeLayer)>) -> Earlier {
    let (id, copy) = made.unzip();
    let record = Record {
        made: id.zip(step.made.as_ref().map(|(_, content)| content.clone())),
        created_by: step.created_by.clone(),
        created: step.created,
        parts,
    };
    Earlier { record, copy, origin: Origin::Elsewhere }
}

impl StageBuild<'_, '_> {
    /// What a build elsewhere made of a step that no build here has done.
    pub(super) fn find_elsewhere(&mut self, parts: &StepParts) -> Result<Option<Earlier>, StepError> {
        let build = self.build;
        let Some(cache) = self.looked_at() else { return Ok(None) };
        let kind = parts.kind();
        // It is worth waiting only for what may be there.
        let opens: Vec<_> = build.open_imports().into_iter().filter(|open| open.steps.has_kind(&kind)).collect();
        if opens.is_empty() {
            return Ok(None);
        }
        let files = build.files(self.position);
        let count = files.made.len();
        if files.key_if_known(count).is_none() || !parts.is_known() {
            self.place.while_away(WaitsFor::Digests, || files.key(count).and_then(|_| parts.whole(None)))?;
        }
        let parent = files.key(count)?;
        for open in opens {
            if let Some(earlier) = build.import(cache, &open, parts, &parent, &files)? {
                return Ok(Some(earlier));
            }
        }
        Ok(None)
    }
}
