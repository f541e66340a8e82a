//! The files of a stage: layers of the store, and those that its steps made and that are not in the
//! store yet.
//!
//! ```text
//! top     made: staged      digest being computed, or known
//!         made: staged
//!         made: stored      an earlier build made it, or this one has published it
//! bottom  base: stored      the base image's layers
//! ```
//! A stored layer stands for everything below it, too.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use layers::{ContentDigest, DiffError, DiffOptions, DiffSummary};
use oci::LayerId;
use rootfs::Root;
use store::{NewLayer, StagedLayer, Store};

use super::error::StepError;
use crate::cache::key::Key;

/// The files of a stage.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The base image's top layer.
    pub base: Option<LayerId>,
    /// What is over it.
    pub made: Vec<Arc<MadeLayer>>,
}

/// A layer that a step made, in this build or an earlier one.
#[derive(Debug)]
pub(super) struct MadeLayer {
    place: Mutex<LayerPlace>,
    digest: Mutex<Option<Result<Digested, Arc<DiffError>>>>,
    digested: Condvar,
}

/// Where a layer is.
#[derive(Debug)]
pub(super) enum LayerPlace {
    Staged(StagedLayer),
    Stored(LayerId),
    /// On its way into the store.
    Moving,
}

/// What is known of a layer when all of it has been read.
#[derive(Clone, Debug)]
pub(super) struct Digested {
    pub content: ContentDigest,
    /// What its record is to say; nothing for a layer of the store. The parent is not filled in.
    pub new: Option<NewLayer>,
}

/// Held for reading while paths of staged layers are in use, for writing while they move.
pub(super) type Moves = RwLock<()>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MadeLayer {
    /// A layer of the store.
    pub fn stored(id: LayerId, content: ContentDigest) -> MadeLayer {
        let digested = Digested { content, new: None };
        MadeLayer {
            place: Mutex::new(LayerPlace::Stored(id)),
            digest: Mutex::new(Some(Ok(digested))),
            digested: Condvar::new(),
        }
    }

    /// A staged layer of which all is known.
    pub fn known(staged: StagedLayer, new: NewLayer, content: ContentDigest) -> MadeLayer {
        let made = MadeLayer::staged(staged);
        *lock(&made.digest) = Some(Ok(Digested { content, new: Some(new) }));
        made
    }

    /// A staged layer that is to be read.
    pub fn staged(staged: StagedLayer) -> MadeLayer {
        MadeLayer { place: Mutex::new(LayerPlace::Staged(staged)), digest: Mutex::new(None), digested: Condvar::new() }
    }

    /// Its ID, if it is in the store.
    pub fn id(&self) -> Option<LayerId> {
        match &*lock(&self.place) {
            LayerPlace::Stored(id) => Some(id.clone()),
            _ => None,
        }
    }

    /// Takes it away to where it is going.
    pub fn take(&self) -> Option<StagedLayer> {
        let mut place = lock(&self.place);
        match mem::replace(&mut *place, LayerPlace::Moving) {
            LayerPlace::Staged(staged) => Some(staged),
            other => {
                *place = other;
                None
            }
        }
    }

    /// It has not gone where it was to go.
    pub fn put_back(&self, staged: StagedLayer) {
        *lock(&self.place) = LayerPlace::Staged(staged);
    }

    /// It is in the store now, or a layer that is the same.
    pub fn is_now(&self, id: LayerId) {
        *lock(&self.place) = LayerPlace::Stored(id);
    }

    /// What is known of it, if it has been read.
    pub fn digest_if_known(&self) -> Option<Digested> {
        lock(&self.digest).as_ref().and_then(|result| result.as_ref().ok().cloned())
    }

    /// What is known of it, once it has been read.
    pub fn digest(&self) -> Result<Digested, StepError> {
        let mut digest = lock(&self.digest);
        loop {
            match &*digest {
                Some(Ok(known)) => return Ok(known.clone()),
                Some(Err(error)) => return Err(StepError::Digest(error.clone())),
                None => digest = self.digested.wait(digest).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn set(&self, result: Result<Digested, Arc<DiffError>>) {
        *lock(&self.digest) = Some(result);
        self.digested.notify_all();
    }

    /// Makes the staged layer, which lies over `lowers`, what a published one must be; gives the work
    /// that is left, which may be done beside later steps. One that `is_fresh` was made without regard
    /// to what is below.
    pub fn clean(
        self: &Arc<Self>,
        lowers: &[PathBuf],
        is_fresh: bool,
        options: DiffOptions,
    ) -> Result<DigestJob, StepError> {
        let (upper, tar_split) = {
            let place = lock(&self.place);
            let LayerPlace::Staged(staged) = &*place else {
                return Err(StepError::Value("a layer is not where it was".to_owned()));
            };
            staged.reset_root(lowers.first().map(PathBuf::as_path))?;
            (Root::open(staged.diff_dir())?, staged.tar_split_file()?)
        };
        let lowers = if is_fresh { &[] } else { lowers };
        let lowers = lowers.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
        layers::clean(&upper, &lowers, &options).map_err(|error| StepError::Digest(Arc::new(error)))?;
        Ok(DigestJob { made: Some(self.clone()), upper, lowers, tar_split, options })
    }
}

/// The reading of a layer. Dropped undone, whoever waits for it is told.
pub(super) struct DigestJob {
    made: Option<Arc<MadeLayer>>,
    upper: Root,
    lowers: Vec<Root>,
    tar_split: std::fs::File,
    options: DiffOptions,
}

impl DigestJob {
    /// Reads the layer.
    pub fn run(mut self) {
        let result = self
            .tar_split
            .try_clone()
            .map_err(DiffError::Write)
            .and_then(|tar_split| layers::diff(&self.upper, &self.lowers, io::sink(), tar_split, &self.options))
            .and_then(digested)
            .map_err(Arc::new);
        if let Some(made) = self.made.take() {
            made.set(result);
        }
    }
}

impl Drop for DigestJob {
    fn drop(&mut self) {
        if let Some(made) = self.made.take() {
            let error = io::Error::other("the thread that reads it ended");
            made.set(Err(Arc::new(DiffError::Write(error))));
        }
    }
}

fn digested(summary: DiffSummary) -> Result<Digested, DiffError> {
    let missing = || DiffError::Write(io::Error::other("its content has no digest"));
    let content = summary.content.clone().ok_or_else(missing)?;
    Ok(Digested { content, new: Some(new_layer(summary)) })
}

/// What the record of a layer is to say, but for its parent.
pub(super) fn new_layer(summary: DiffSummary) -> NewLayer {
    NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(None, summary.diff_id, summary.size)
    }
}

impl Files {
    /// Those of the base image's top layer alone.
    pub fn of_base(base: Option<LayerId>) -> Files {
        Files { base, made: Vec::new() }
    }

    /// The key of the files up to the first `count` made layers, once these have been read.
    pub fn key(&self, count: usize) -> Result<Key, StepError> {
        let mut key = self.base_key();
        for made in self.made.iter().take(count) {
            key = key.then(made.digest()?.content.as_str());
        }
        Ok(key)
    }

    /// The same, if they have been read.
    pub fn key_if_known(&self, count: usize) -> Option<Key> {
        let mut key = self.base_key();
        for made in self.made.iter().take(count) {
            key = key.then(made.digest_if_known()?.content.as_str());
        }
        Some(key)
    }

    /// The key of the base's files.
    pub fn base_key(&self) -> Key {
        Key::of("layer", self.base.as_ref().map_or("", LayerId::as_str))
    }

    /// The topmost layer that is in the store, with the number of made layers that it stands for.
    pub fn stored(&self) -> (Option<LayerId>, usize) {
        let found = self.made.iter().enumerate().rev().find_map(|(index, made)| Some((made.id()?, index + 1)));
        match found {
            Some((id, count)) => (Some(id), count),
            None => (self.base.clone(), 0),
        }
    }

    /// The directories to be stacked, top first. They stay where they are as long as the caller holds
    /// [`Moves`] for reading, which it does from before the call on.
    pub fn directories(&self, store: &Store) -> Result<Vec<PathBuf>, StepError> {
        let (stored, count) = self.stored();
        let mut directories = Vec::new();
        for made in self.made.iter().skip(count).rev() {
            match &*lock(&made.place) {
                LayerPlace::Staged(staged) => directories.push(staged.diff_dir().to_owned()),
                _ => return Err(StepError::Value("a layer is not where it was".to_owned())),
            }
        }
        if let Some(stored) = stored {
            directories.extend(store.lower_directories(&stored)?);
        }
        Ok(directories)
    }
}
