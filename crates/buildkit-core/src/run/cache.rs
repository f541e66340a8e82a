//! Directories that outlive a step: cache mounts.
//!
//! ```text
//! <graphroot>/gabion/cache-mounts/
//!   <hash>        the directory: a hash of ID and owner, so that no ID is ever a path
//!   <hash>-2, …   further ones, for private use at the same time
//!   <hash>.lock   held shared or alone while a step uses it; its time is that of the last use
//!   <hash>.json   what the hash stands for
//!   <hash>.new-…  being made
//! ```

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Sharing;
use crate::lock_file;

/// A cache in use; locked as long as it lives.
#[derive(Debug)]
pub(super) struct Cache {
    /// Where it is.
    pub path: PathBuf,
    lock: File,
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = mark_used(&self.lock);
    }
}

/// What the name of a cache stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    pub uid: u32,
    pub gid: u32,
    pub created: Timestamp,
}

/// Which cache, and how a new one is made.
#[derive(Clone, Debug)]
pub(super) struct CacheOptions<'a> {
    pub id: &'a str,
    /// What it begins with, if not with nothing: another content is another cache.
    pub content: Option<String>,
    pub sharing: Sharing,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// Puts what a cache begins with into its new directory.
pub(super) type Fill<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;

/// Where caches are, below a store's private directory.
pub(crate) fn directory(private_directory: &Path) -> PathBuf {
    private_directory.join("cache-mounts")
}

/// A name for the cache that is safe as a file's.
pub(super) fn key(options: &CacheOptions<'_>) -> String {
    let mut text = format!("{}\0{}:{}", options.id, options.uid.unwrap_or(0), options.gid.unwrap_or(0));
    if let Some(content) = &options.content {
        text += &format!("\0{content}");
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a cache below `dir`, making it if need be. Waits for others as `sharing` asks.
pub(super) fn open(dir: &Path, options: &CacheOptions<'_>, fill: Option<Fill<'_>>) -> std::io::Result<Cache> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    let key = key(options);
    let mut number = 1;
    loop {
        let name = if number == 1 { key.clone() } else { format!("{key}-{number}") };
        let wanted = match options.sharing {
            Sharing::Shared => FlockOperation::LockShared,
            Sharing::Locked => FlockOperation::LockExclusive,
            Sharing::Private => FlockOperation::NonBlockingLockExclusive,
        };
        let Some(lock) = lock_file::acquire(&dir.join(format!("{name}.lock")), wanted)? else {
            number += 1;
            continue;
        };
        let path = dir.join(&name);
        make(dir, &name, options, fill)?;
        write_record(dir, &name, options)?;
        mark_used(&lock)?;
        return Ok(Cache { path, lock });
    }
}

/// Makes the directory with its owner, its mode and what is in it at once, so that nobody sees it
/// without. What it begins with has an owner and a mode of its own.
fn make(dir: &Path, name: &str, options: &CacheOptions<'_>, fill: Option<Fill<'_>>) -> std::io::Result<()> {
    let path = &dir.join(name);
    if path.is_dir() {
        return Ok(());
    }
    let new = tempfile::Builder::new().prefix(&format!("{name}.new-")).tempdir_in(dir)?;
    let (mut mode, mut uid, mut gid) = (options.mode, options.uid, options.gid);
    match fill {
        Some(fill) => fill(new.path())?,
        None => {
            mode = mode.or(Some(0o755));
            (uid, gid) = (uid.or(Some(0)), gid.or(Some(0)));
        }
    }
    std::os::unix::fs::chown(new.path(), uid, gid)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(new.path(), std::fs::Permissions::from_mode(mode))?;
    }
    match rustix::fs::renameat_with(CWD, new.path(), CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {
            let _ = new.keep();
            Ok(())
        }
        // Another user of a shared one was quicker.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn write_record(dir: &Path, name: &str, options: &CacheOptions<'_>) -> std::io::Result<()> {
    let path = dir.join(format!("{name}.json"));
    if path.exists() {
        return Ok(());
    }
    let (uid, gid) = (options.uid.unwrap_or(0), options.gid.unwrap_or(0));
    let record = Record { id: options.id.to_owned(), uid, gid, created: Timestamp::now() };
    let mut file = tempfile::Builder::new().prefix(&format!("{name}.new-")).tempfile_in(dir)?;
    serde_json::to_writer(&mut file, &record)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn mark_used(lock: &File) -> std::io::Result<()> {
    lock.set_modified(std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::os::unix::fs::MetadataExt as _;

    fn options(id: &str, sharing: Sharing) -> CacheOptions<'_> {
        CacheOptions { id, content: None, sharing, mode: Some(0o1750), uid: None, gid: None }
    }

    fn open(dir: &Path, options: &CacheOptions<'_>) -> std::io::Result<Cache> {
        super::open(dir, options, None)
    }

    #[test]
    fn tree_caches_begin_with_their_content_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        let fill: Fill<'_> = &|new: &Path| {
            std::fs::set_permissions(new, std::fs::Permissions::from_mode(0o711))?;
            std::fs::write(new.join("begun"), "")
        };
        let open = |content: Option<&str>, mode| {
            let content = content.map(str::to_owned);
            let options = CacheOptions { content, mode, ..options("x", Sharing::Shared) };
            super::open(dir.path(), &options, Some(fill)).expect("cache").path.clone()
        };
        let path = open(Some("a"), None);
        assert_eq!(std::fs::metadata(&path).expect("stat").mode() & 0o7777, 0o711);
        std::fs::remove_file(path.join("begun")).expect("it began");
        assert_eq!(open(Some("a"), None), path);
        assert!(!path.join("begun").exists());
        let other = open(Some("b"), Some(0o700));
        assert!(other != path && other.join("begun").exists());
        assert_eq!(std::fs::metadata(&other).expect("stat").mode() & 0o7777, 0o700);
        assert_ne!(open(None, None), path);
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
            names.insert(cache.path.clone());
        }
        names.insert(
            open(&caches, &CacheOptions { uid: Some(7), ..options("x", Sharing::Shared) }).expect("owned").path.clone(),
        );
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
