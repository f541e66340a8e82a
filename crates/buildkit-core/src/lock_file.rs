//! Lock files of gabion's own: locked while something is in use, removed by whoever holds the lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

/// Locks the file at `path`, made if it is missing; `None` if `operation` does not wait and somebody
/// else holds the lock. Closing the file releases it.
pub(crate) fn acquire(path: &Path, operation: FlockOperation) -> io::Result<Option<File>> {
    lock(path, operation, true)
}

/// The same of a file that is there; `None` if it is not.
pub(crate) fn acquire_existing(path: &Path, operation: FlockOperation) -> io::Result<Option<File>> {
    match lock(path, operation, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result,
    }
}

fn lock(path: &Path, operation: FlockOperation, create: bool) -> io::Result<Option<File>> {
    loop {
        let file = File::options().read(true).write(true).create(create).truncate(false).open(path)?;
        match retry_on_intr(|| flock(&file, operation)) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result?,
        }
        // It may have been removed while we waited.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_a_removed_file_is_not_locked() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("lock");
        let held = acquire(&path, FlockOperation::LockExclusive).expect("opened").expect("free");
        assert!(acquire(&path, FlockOperation::NonBlockingLockShared).expect("opened").is_none());
        let missing = dir.path().join("missing");
        assert!(
            acquire_existing(&missing, FlockOperation::LockShared).expect("no error").is_none() && !missing.exists()
        );
        std::thread::scope(|scope| {
            let other = scope.spawn(|| acquire(&path, FlockOperation::LockExclusive));
            std::fs::remove_file(&path).expect("removed");
            drop(held);
            let other = other.join().expect("no panic").expect("opened").expect("free");
            assert!(is_at(&other, &path));
        });
    }
}
