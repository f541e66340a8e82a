//! What takes room in a store, and what of it may go.
//!
//! ```text
//! leftovers of killed builds ─┐
//! images that nothing needs  ─┼─plan──▶ Plan ──carry_out──▶ Pruned
//! layers that nothing has    ─┤         oldest first, until the budget is met
//! cache mounts not in use    ─┤
//! records of what is gone    ─┘         always
//! ```
//! An image that only the cache needs, and one without a name, was last used when a build last took
//! a layer of its own from it.
//!
//! A plan changes nothing; what has come into use since it was made stays when it is carried out.
//! Other leftovers of killed commands (staged layers, temporary directories) go whenever a store
//! is opened. Whoever opens one for a command has the leftovers of killed builds go, too
//! ([`remove_leftovers`]), unless they are to be told of.

mod cache_mounts; // listed, removed
mod disk; // bytes of a tree
mod images; // which may go, and what that frees
mod leftovers; // containers of killed builds
mod orphans; // layers without an image
mod records; // what is remembered of builds
mod trim; // what a build removes at its end
mod usage; // what takes room

use std::path::PathBuf;

use jiff::Timestamp;
use oci::{ContainerId, ImageId, LayerId};
use store::Store;

use crate::build::record::KilledBuild;
use crate::image_list::ImageList;
use crate::working_container;
use records::There;

pub use leftovers::remove as remove_leftovers;
pub(crate) use trim::trim;
pub use usage::{Usage, UsedItem, usage};

/// What may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Every image that no container is based on, not only those that nothing names or needs.
    pub all: bool,
    /// Images go though containers are based on them, and the containers too.
    pub force: bool,
    /// Only what was last used before this.
    pub until: Option<Timestamp>,
    /// Bytes of images and cache mounts that may stay: those used last do.
    pub keep_storage: Option<u64>,
    /// What was used since this stays, whatever it takes.
    pub spare_since: Option<Timestamp>,
    /// These images stay.
    pub spare: Vec<ImageId>,
}

/// What something in a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A working container that a killed build left.
    Leftover,
    /// A container.
    Container,
    /// An image.
    Image,
    /// An image that only keeps layers of steps for later builds.
    BuildCache,
    /// A layer of a step, with those below it, that no image and no container has.
    Layer,
    /// A directory that outlives steps.
    CacheMount,
    /// Files about builds: what their steps made, why, and digests of what they read.
    Records,
}

impl Kind {
    /// Whether it is an image for the store.
    pub fn is_image(self) -> bool {
        matches!(self, Kind::Image | Kind::BuildCache)
    }
}

/// Something that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it is.
    pub kind: Kind,
    /// A container's, image's or layer's ID, a cache mount's name, a folder of records.
    pub id: String,
    /// Names of an image or container, the `id=` of a cache mount, what records are of.
    pub names: Vec<String>,
    /// Bytes that its removal frees, after those before it in the plan.
    pub frees: u64,
    /// When it was last used, as far as that is known, or made.
    pub last_used: Timestamp,
}

/// What is to go, in this order.
#[derive(Debug)]
pub struct Plan {
    /// What goes.
    pub candidates: Vec<Candidate>,
    all: bool,
    until: Option<Timestamp>,
    killed: Vec<KilledBuild>,
}

/// What a plan has led to.
#[derive(Debug, Default)]
pub struct Pruned {
    /// What is gone.
    pub removed: Vec<Candidate>,
    /// Why the rest is not; what was in use is no error.
    pub errors: Vec<PruneError>,
}

/// Why something could not be listed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A directory could not be read, moved or removed.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What failed.
        error: std::io::Error,
    },
    /// The same, below a directory.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
}

impl PruneError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> PruneError {
        let path = path.into();
        |error| PruneError::Io { path, error }
    }
}

/// Finds what may go. Changes nothing.
pub fn plan(store: &Store, options: &PruneOptions) -> Result<Plan, PruneError> {
    let killed = leftovers::killed_builds(store)?;
    let is_old = |time: Timestamp| options.until.is_none_or(|until| time < until);
    let mut leftovers = leftovers::list(store, &killed)?;
    leftovers.retain(|leftover| is_old(leftover.last_used));
    let list = ImageList::read(store)?;
    let private = store.private_directory()?;
    let uses = records::uses(&private);
    let mut candidates = images::choose(store, &list, options, &leftovers, &uses)?;
    candidates.extend(orphans::candidates(store, &list, &uses)?.into_iter().filter(|layer| is_old(layer.last_used)));
    candidates.extend(cache_mounts::candidates(store)?.into_iter().filter(|cache| is_old(cache.last_used)));
    // Images that nothing needs once others are gone come after those: the order is kept.
    candidates.sort_by_key(|candidate| candidate.last_used);
    images::fill_in_bytes(store, &list, &leftovers, &mut candidates)?;
    if let Some(budget) = options.keep_storage {
        let mut rest: u64 = candidates.iter().map(|candidate| candidate.frees).sum();
        candidates.retain(|candidate| {
            let is_spared = options.spare_since.is_some_and(|since| candidate.last_used >= since);
            let goes = rest > budget && !is_spared;
            rest = if goes { rest.saturating_sub(candidate.frees) } else { rest };
            goes
        });
    }
    leftovers.extend(images::containers_in_the_way(store, options, &candidates)?);
    leftovers.extend(candidates);
    let there = There::read(store)?.without(&images::freed(store, &list, &leftovers)?, &leftovers);
    leftovers.extend(records::candidates(&records::stale(&private, &there, options.until)));
    Ok(Plan { candidates: leftovers, all: options.all, until: options.until, killed })
}

impl Plan {
    /// Bytes that it frees.
    pub fn frees(&self) -> u64 {
        self.candidates.iter().map(|candidate| candidate.frees).sum()
    }

    /// Removes what the plan names, unless it is in use by now.
    pub fn carry_out(self, store: &Store) -> Pruned {
        let mut pruned = Pruned::default();
        for candidate in self.candidates {
            // By now, more of them may be of no use.
            let removed = match candidate.kind {
                Kind::Records => records::remove(store, &candidate.id, self.until),
                _ => remove(store, &candidate, self.all),
            };
            match removed {
                Ok(true) => pruned.removed.push(candidate),
                Ok(false) => {}
                Err(PruneError::Store(error)) if error.is_not_found() => {}
                Err(error) => pruned.errors.push(error),
            }
        }
        if let Err(error) = leftovers::forget(store, self.killed) {
            pruned.errors.push(error);
        }
        pruned
    }
}

/// Whether it was removed; something that came into use stays.
fn remove(store: &Store, candidate: &Candidate, all: bool) -> Result<bool, PruneError> {
    match candidate.kind {
        Kind::Leftover | Kind::Container => {
            if let Ok(id) = ContainerId::parse(&candidate.id) {
                working_container::remove(store, &id)?;
            }
            Ok(true)
        }
        Kind::Image | Kind::BuildCache => {
            let Ok(id) = ImageId::parse(&candidate.id) else { return Ok(false) };
            let deleted = match all {
                true => store.delete_image(&id).map(Some),
                false => store.delete_nameless_image(&id),
            };
            match deleted {
                Err(store::Error::ImageInUse { .. }) => Ok(false),
                result => Ok(result?.is_some()),
            }
        }
        Kind::Layer => {
            let Ok(id) = LayerId::parse(&candidate.id) else { return Ok(false) };
            Ok(!store.remove_unused_layers(&id)?.is_empty())
        }
        Kind::CacheMount => cache_mounts::remove(store, &candidate.id),
        Kind::Records => Ok(false),
    }
}
