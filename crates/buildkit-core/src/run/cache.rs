//! Directories that outlive a step: cache mounts.
//!
//! ```text
//! <graphroot>/gabion/cache-mounts/
//!   <hash>        the directory: a hash of ID and owner, so that no ID is ever a path
//!   <hash>-2, …   further ones, for private use at the same time
//!   <hash>.lock   held shared or alone while a step uses it
//! ```

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::Sharing;

/// A cache in use; locked as long as it lives.
#[derive(Debug)]
pub(super) struct Cache {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

/// Which cache, and how a new one is made.
#[derive(Clone, Debug)]
pub(super) struct CacheOptions<'a> {
    pub id: &'a str,
    pub sharing: Sharing,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// A name for the cache that is safe as a file's.
pub(super) fn key(options: &CacheOptions<'_>) -> String {
    let text = format!("{}\0{}:{}", options.id, options.uid, options.gid);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a cache below `dir`, making it if need be. Waits for others as `sharing` asks.
pub(super) fn open(dir: &Path, options: &CacheOptions<'_>) -> std::io::Result<Cache> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    let key = key(options);
    let mut number = 1;
    loop {
        let name = if number == 1 { key.clone() } else { format!("{key}-{number}") };
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(format!("{name}.lock")))?;
        let wanted = match options.sharing {
            Sharing::Shared => FlockOperation::LockShared,
            Sharing::Locked => FlockOperation::LockExclusive,
            Sharing::Private => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, wanted)) {
            Err(Errno::WOULDBLOCK) => number += 1,
            result => {
                result?;
                let path = dir.join(name);
                make(dir, &path, options)?;
                return Ok(Cache { path, _lock: lock });
            }
        }
    }
}

/// Makes the directory with its owner and mode at once, so that nobody sees it without.
fn make(dir: &Path, path: &Path, options: &CacheOptions<'_>) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let new = tempfile::Builder::new().prefix("new-").tempdir_in(dir)?;
    std::os::unix::fs::chown(new.path(), Some(options.uid), Some(options.gid))?;
    std::fs::set_permissions(new.path(), std::fs::Permissions::from_mode(options.mode))?;
    match std::fs::rename(new.path(), path) {
        Ok(()) => {
            let _ = new.keep();
            Ok(())
        }
        // Another user of a shared one was quicker.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn options(id: &str, sharing: Sharing) -> CacheOptions<'_> {
        CacheOptions { id, sharing, mode: 0o1750, uid: 0, gid: 0 }
    }

    #[test]
    fn tree_caches_are_named_by_a_hash_of_id_and_owner() {
        let dir = tempfile::tempdir().expect("temp dir");
        let caches = dir.path().join("a/b");
        let mut names = std::collections::BTreeSet::new();
        for id in ["x", "/x", "../../x", "..", "a/b", ""] {
            let cache = open(&caches, &options(id, Sharing::Shared)).expect(id);
            assert_eq!(cache.path.parent(), Some(caches.as_path()));
            assert_eq!(std::fs::metadata(&cache.path).expect("stat").mode() & 0o7777, 0o1750);
            names.insert(cache.path);
        }
        names.insert(open(&caches, &CacheOptions { uid: 7, ..options("x", Sharing::Shared) }).expect("owned").path);
        assert_eq!(names.len(), 7);
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 1);
    }

    #[test]
    fn tree_caches_are_shared_or_not() {
        let dir = tempfile::tempdir().expect("temp dir");
        let open = |sharing| open(dir.path(), &options("x", sharing)).expect("cache");
        let (one, two) = (open(Sharing::Shared), open(Sharing::Shared));
        assert_eq!(one.path, two.path);
        let three = open(Sharing::Private);
        let four = open(Sharing::Private);
        assert!(three.path != one.path && four.path != three.path);
        drop((one, two));
        assert_ne!(open(Sharing::Private).path, three.path);
        let locked = open(Sharing::Locked);
        let lock = File::open(locked.path.with_extension("lock")).expect("lock");
        assert_eq!(rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
    }
}
