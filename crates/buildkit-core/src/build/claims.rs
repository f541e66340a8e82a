//! Two builds at once do a step that both need once: who comes first claims it, the other waits and
//! takes the result.
//!
//! ```text
//! <graphroot>/gabion/claims-of-steps/
//!   <key>         locked by who does the step, until its result is in the index
//!   <key>.wait    locked (shared) by those who wait
//! ```
//! The key covers the instructions from the base on, not what they made: it is known before.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::cache::key::Key;
use crate::lock_file;

/// How often who waits looks whether the build is to end.
const INTERVAL: Duration = Duration::from_millis(10);

/// A step that is this build's to do.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    _lock: File,
}

/// The directory of the claims, below a store's private directory.
pub(crate) fn directory(private_directory: &Path) -> PathBuf {
    private_directory.join("claims-of-steps")
}

/// Removes the files that killed builds left in the directory of the claims.
pub(crate) fn remove_left(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if let Some(_free) = lock_file::acquire_existing(&path, FlockOperation::NonBlockingLockExclusive)? {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl Claim {
    /// Claims the step; `None` if somebody else has.
    pub fn try_new(dir: &Path, key: &Key) -> io::Result<Option<Claim>> {
        fs::create_dir_all(dir)?;
        let path = dir.join(key.as_str());
        let lock = lock_file::acquire(&path, FlockOperation::NonBlockingLockExclusive)?;
        Ok(lock.map(|lock| Claim { path, _lock: lock }))
    }

    /// Claims the step once whoever has claimed it lets go; `None` if `gives_up` says so before.
    pub fn wait(dir: &Path, key: &Key, gives_up: &dyn Fn() -> bool) -> io::Result<Option<Claim>> {
        let waiting = dir.join(format!("{}.wait", key.as_str()));
        let lock = lock_file::acquire(&waiting, FlockOperation::LockShared)?;
        loop {
            if let Some(claim) = Claim::try_new(dir, key)? {
                drop(lock);
                // The last one to wait takes the file away.
                if lock_file::acquire_existing(&waiting, FlockOperation::NonBlockingLockExclusive)?.is_some() {
                    let _ = fs::remove_file(&waiting);
                }
                return Ok(Some(claim));
            }
            if gives_up() {
                return Ok(None);
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Whether somebody waits for the result.
    pub fn is_waited_for(&self) -> bool {
        let mut name = self.path.clone().into_os_string();
        name.push(".wait");
        let free = lock_file::acquire_existing(Path::new(&name), FlockOperation::NonBlockingLockExclusive);
        // Free: whoever waited was killed.
        let is_there = Path::new(&name).exists();
        is_there && matches!(free, Ok(None))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While it is locked: nobody takes it for theirs.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_a_step_is_claimed_once_and_waited_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let dir = dir.path();
        let (key, other) = (Key::of("step", "1"), Key::of("step", "2"));
        let claim = Claim::try_new(dir, &key).expect("claimed").expect("free");
        assert!(Claim::try_new(dir, &key).expect("asked").is_none());
        assert!(Claim::try_new(dir, &other).expect("asked").is_some());
        assert!(!claim.is_waited_for());
        assert!(Claim::wait(dir, &key, &|| true).expect("asked").is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Claim::wait(dir, &key, &|| false).expect("waited"));
            while !claim.is_waited_for() {
                std::thread::yield_now();
            }
            drop(claim);
            assert!(waiting.join().expect("no panic").is_some());
        });
        assert!(Claim::try_new(dir, &key).expect("asked").is_some());
    }

    #[test]
    fn tree_only_claims_of_killed_builds_are_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let dir = dir.path();
        remove_left(&dir.join("missing")).expect("nothing to do");
        let claim = Claim::try_new(dir, &Key::of("step", "1")).expect("claimed").expect("free");
        fs::write(dir.join("killed"), "").expect("written");
        fs::write(dir.join("killed.wait"), "").expect("written");
        remove_left(dir).expect("removed");
        let left: Vec<PathBuf> = fs::read_dir(dir).expect("read").map(|entry| entry.expect("read").path()).collect();
        assert_eq!(left, std::slice::from_ref(&claim.path));
    }
}
