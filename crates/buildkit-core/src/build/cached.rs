//! What earlier builds did, and what this one leaves for later ones.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use layers::ContentDigest;
use oci::LayerId;
use store::Store;

use super::Build;
use super::claims::Claim;
use super::error::StepError;
use super::layers::{Files, MadeLayer};
use super::options::CacheUse;
use super::step_key::StepParts;
use crate::cache::index::{Index, Record};
use crate::cache::key::Key;

/// The cache as this build uses it.
#[derive(Debug)]
pub(super) struct StepCache {
    pub index: Index,
    pub private_directory: PathBuf,
    /// Whether earlier results count.
    looks: bool,
    /// Results from before this do not.
    oldest: Option<Timestamp>,
}

/// A step that was done and that the index does not know of yet.
#[derive(Debug)]
pub(super) struct Unrecorded {
    pub parts: StepParts,
    /// How many layers the stage had made before.
    pub before: usize,
    /// The layer; none if nothing changed.
    pub made: Option<Arc<MadeLayer>>,
    pub created_by: String,
    pub created: Timestamp,
    /// Keeps others from doing the same, until it is recorded.
    pub claim: Option<Claim>,
    /// Who did it; nothing where this build has.
    pub origin: Option<Origin>,
}

/// Where the result of a step comes from that this build has not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An earlier build's, over the same files.
    Here,
    /// An earlier build's, over other files.
    Copied,
    /// A build elsewhere.
    Elsewhere,
}

/// What an earlier build made of a step.
pub(super) struct Earlier {
    pub record: Record,
    /// The layer once more, over the files of this build, if it was over others.
    pub copy: Option<MadeLayer>,
    pub origin: Origin,
}

impl StepCache {
    /// The cache below a store's private directory; `None` where the build has nothing to do with it.
    pub fn new(private_directory: PathBuf, wanted: &CacheUse) -> Option<StepCache> {
        let (looks, oldest) = match wanted {
            CacheUse::None => return None,
            CacheUse::Refresh => (false, None),
            CacheUse::Use { max_age: None } => (true, None),
            CacheUse::Use { max_age: Some(age) } => {
                (true, Some(Timestamp::now().checked_sub(*age).unwrap_or(Timestamp::MIN)))
            }
        };
        Some(StepCache { index: Index::new(&private_directory), private_directory, looks, oldest })
    }

    /// Whether what was done then counts.
    pub fn is_recent(&self, created: Timestamp) -> bool {
        self.oldest.is_none_or(|oldest| created >= oldest)
    }

    /// Whether earlier results count.
    pub fn looks(&self) -> bool {
        self.looks
    }

    /// What was made of a step over files with the key `parent`; `None` over any.
    pub fn find(&self, store: &Store, parts: &StepParts, parent: Option<&Key>) -> Result<Option<Record>, StepError> {
        let keys = [Some(parts.whole(parent)?), parts.by_content(parent)];
        for key in keys.iter().flatten().map(|parts| parts.key()) {
            if let Some(record) = self.confirmed(store, &key)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The record, if it may be used and its layer is still there.
    fn confirmed(&self, store: &Store, key: &Key) -> Result<Option<Record>, StepError> {
        let Some(record) = self.index.get(key) else { return Ok(None) };
        if !self.is_recent(record.created) {
            return Ok(None);
        }
        match &record.made {
            Some((id, _)) if !is_stored(store, id)? => {
                // Deleted by somebody: nothing is gained by asking again.
                let _ = self.index.remove(key);
                Ok(None)
            }
            _ => Ok(Some(record)),
        }
    }

    /// The layer whose files, with those below it, have this key, if it is there.
    pub fn layer(&self, store: &Store, files: &Key) -> Result<Option<LayerId>, StepError> {
        let Some(layer) = self.index.layer(files) else { return Ok(None) };
        Ok(is_stored(store, &layer)?.then_some(layer))
    }

    /// Enters what a step made over files with the key `parent`. What cannot be written is lost for later
    /// builds only.
    pub fn enter(&self, parts: &StepParts, parent: &Key, done: &StepResult<'_>) -> Result<(), StepError> {
        // What a cache elsewhere says of a layer's content does not replace layers that were made here.
        if let Some((id, content)) = done.made.as_ref().filter(|_| !done.is_elsewhere) {
            let _ = self.index.put_layer(&parent.then(content.as_str()), id);
        }
        let kind = parts.kind();
        for parts in parts.all(parent)? {
            let StepResult { made, created_by, created, .. } = done;
            let (made, created_by) = (made.clone(), (*created_by).to_owned());
            let _ = self.index.put(&Record { made, created_by, created: *created, parts }, &kind);
        }
        Ok(())
    }
}

/// What a step has come to.
pub(super) struct StepResult<'a> {
    /// The layer with its content; none if nothing changed.
    pub made: Option<(LayerId, ContentDigest)>,
    pub created_by: &'a str,
    pub created: Timestamp,
    /// Whether a build elsewhere did it.
    pub is_elsewhere: bool,
}

/// Whether the layer is there.
pub(super) fn is_stored(store: &Store, id: &LayerId) -> Result<bool, StepError> {
    match store.layer_diff_directory(id) {
        Ok(dir) => Ok(dir.is_dir()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl<'b> Build<'b> {
    /// What an earlier build made of a step over `files` with the key `parent`. A layer that is over
    /// others is copied.
    pub(super) fn find(
        &self,
        cache: &StepCache,
        parts: &StepParts,
        parent: &Key,
        files: &Files,
    ) -> Result<Option<Earlier>, StepError> {
        if let Some(record) = cache.find(self.store, parts, Some(parent))? {
            return Ok(Some(Earlier { record, copy: None, origin: Origin::Here }));
        }
        if !parts.is_independent {
            return Ok(None);
        }
        let Some(record) = cache.find(self.store, parts, None)? else { return Ok(None) };
        let Some((id, content)) = &record.made else { return Ok(None) };
        let copy = Some(self.copy_of(id, content, files)?);
        Ok(Some(Earlier { record, copy, origin: Origin::Copied }))
    }

    fn copy_of(&self, id: &LayerId, content: &ContentDigest, files: &Files) -> Result<MadeLayer, StepError> {
        let (staged, new) = self.store.stage_copy(id, files.stored().0)?;
        let _still = self.hold_still();
        staged.reset_root(files.directories(self.store)?.first().map(PathBuf::as_path))?;
        Ok(MadeLayer::known(staged, new, content.clone()))
    }

    /// Where what the stage made was made before with the same content, the earlier layers take the
    /// place of the new ones. What is not read yet is left as it is.
    pub(super) fn settle(&self, position: usize) -> Result<(), StepError> {
        let Some(cache) = &self.cache else { return Ok(()) };
        let files = self.work(position).files.clone();
        let (_, stored) = files.stored();
        for (index, made) in files.made.iter().enumerate().skip(stored) {
            let Some(key) = files.key_if_known(index + 1) else { break };
            let Some(earlier) = cache.layer(self.store, &key)? else { continue };
            let _alone = self.moves.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(staged) = made.take() {
                // It may be mounted: it goes when the build ends.
                self.discarded.lock().push(staged);
                made.is_now(earlier);
            }
        }
        Ok(())
    }

    /// Enters what the stage did into the index, as far as it is in the store. What cannot be written
    /// is lost for later builds only.
    pub(super) fn record(&self, position: usize) -> Result<(), StepError> {
        let Some(cache) = &self.cache else { return Ok(()) };
        let files = self.work(position).files.clone();
        let all = std::mem::take(&mut self.work(position).unrecorded);
        let mut left = Vec::new();
        for done in all {
            let is_stored = done.made.as_ref().is_none_or(|made| made.id().is_some());
            match files.key_if_known(done.before).filter(|_| is_stored && done.parts.is_known()) {
                Some(parent) => record_step(cache, &done, &parent)?,
                None => left.push(done),
            }
        }
        self.work(position).unrecorded.extend(left);
        Ok(())
    }
}

fn record_step(cache: &StepCache, done: &Unrecorded, parent: &Key) -> Result<(), StepError> {
    let made = match &done.made {
        Some(made) => match (made.id(), made.digest_if_known()) {
            (Some(id), Some(digested)) => Some((id, digested.content)),
            _ => return Ok(()),
        },
        None => None,
    };
    let is_elsewhere = done.origin == Some(Origin::Elsewhere);
    let result = StepResult { made, created_by: &done.created_by, created: done.created, is_elsewhere };
    cache.enter(&done.parts, parent, &result)
}
