//! Cache mounts: which there are, and how one goes. [`crate::run::cache`] says where they are.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rootfs::Root;
use rustix::fs::FlockOperation;
use store::Store;

use super::disk::bytes_below;
use super::{Candidate, Kind, PruneError};
use crate::lock_file;
use crate::run::cache::{self, Record};

/// A cache mount.
pub(super) struct CacheMount {
    /// What its directory is called.
    pub name: String,
    /// What it stands for; none of a cache whose record is lost.
    pub record: Option<Record>,
    pub size: u64,
    pub last_used: Timestamp,
    pub in_use: bool,
}

/// All of them.
pub(super) fn list(store: &Store) -> Result<Vec<CacheMount>, PruneError> {
    let dir = cache::directory(&store.private_directory()?);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(PruneError::io(&dir))?,
    };
    let mut caches = Vec::new();
    for entry in entries {
        let Ok(name) = entry.map_err(PruneError::io(&dir))?.file_name().into_string() else { continue };
        if name.contains('.') {
            continue;
        }
        let lock = dir.join(format!("{name}.lock"));
        let time = fs::metadata(&lock).or_else(|_| fs::metadata(dir.join(&name))).and_then(|found| found.modified());
        let record = fs::read(dir.join(format!("{name}.json"))).ok();
        let free = lock_file::acquire_existing(&lock, FlockOperation::NonBlockingLockExclusive);
        caches.push(CacheMount {
            record: record.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            size: bytes_below(&dir.join(&name))?,
            last_used: time.ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default(),
            in_use: lock.exists() && free.map_err(PruneError::io(&lock))?.is_none(),
            name,
        });
    }
    caches.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(caches)
}

/// Those that are not in use.
pub(super) fn candidates(store: &Store) -> Result<Vec<Candidate>, PruneError> {
    let free = list(store)?.into_iter().filter(|cache| !cache.in_use);
    let candidate = |cache: CacheMount| Candidate {
        kind: Kind::CacheMount,
        names: cache.record.map(|record| record.id).into_iter().collect(),
        id: cache.name,
        frees: cache.size,
        last_used: cache.last_used,
    };
    Ok(free.map(candidate).collect())
}

/// Removes a cache unless it is in use. It is moved away first: a kill leaves it whole, or to the
/// next store that is opened.
pub(super) fn remove(store: &Store, name: &str) -> Result<bool, PruneError> {
    let dir = cache::directory(&store.private_directory()?);
    let lock = dir.join(format!("{name}.lock"));
    let held = lock_file::acquire(&lock, FlockOperation::NonBlockingLockExclusive).map_err(PruneError::io(&lock))?;
    let Some(_held) = held else { return Ok(false) };
    let trash = store.temporary_directory()?;
    let from = dir.join(name);
    fs::rename(&from, trash.path().join("cache")).map_err(PruneError::io(&from))?;
    remove_notes(&dir, name)?;
    // Deeper than some programs can follow, perhaps: steps decide what is in it.
    Root::open(trash.path())?.remove_all("cache")?;
    Ok(true)
}

/// Removes what is beside the cache's directory, its lock last.
fn remove_notes(dir: &Path, name: &str) -> Result<(), PruneError> {
    let root = Root::open(dir)?;
    let prefix = format!("{name}.");
    let lock = format!("{name}.lock");
    for note in root.top().names()? {
        if note.to_str().is_some_and(|note| note.starts_with(&prefix) && note != lock) {
            root.remove_all(&note)?;
        }
    }
    Ok(root.remove_all(&lock)?)
}
