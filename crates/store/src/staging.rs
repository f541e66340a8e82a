//! Temporary directories in the driver's home: content on its way in or out.
//!
//! ```text
//! overlay/tempdirs/lock-R        locked for as long as the directory is in use
//! overlay/tempdirs/temp-dir-R/   whatever it is; on the file system of the layers
//! ```
//! A directory whose lock is free belongs to nobody: whoever sees it removes it. The newer Go
//! tools do the same with ours.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::layout::Layout;
use crate::lock::{Guard, LockFile};
use crate::{Error, Result, Store};

/// A temporary directory of ours. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
    lock_path: PathBuf,
    _guard: Guard,
}

impl TempDir {
    /// Makes one; what crashed processes left is removed by [`remove_stale`], not here.
    pub fn new(layout: &Layout) -> Result<TempDir> {
        TempDir::below(layout.temp_dirs())
    }

    /// Makes one in `parent`, which [`remove_stale`] looks through.
    pub fn below(parent: PathBuf) -> Result<TempDir> {
        make_dir(&parent)?;
        loop {
            let suffix = crate::random::suffix()?;
            let lock_path = parent.join(format!("lock-{suffix}"));
            File::create_new(&lock_path).map_err(Error::io("create", &lock_path))?;
            // Until it is locked, somebody may take the file for a crashed process's.
            if let Some(guard) = LockFile::new(lock_path.clone()).try_write()?
                && guard.is_current()
            {
                let path = parent.join(format!("temp-dir-{suffix}"));
                make_dir(&path)?;
                return Ok(TempDir { path, lock_path, _guard: guard });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next store that is opened.
        if remove_tree(&self.path).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// A directory for data that is not for the store, mode 0700. Dropping it removes it with all in it;
/// if the process is killed before, the next store that is opened does.
#[derive(Debug)]
pub struct TemporaryDirectory(TempDir);

impl TemporaryDirectory {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Store {
    /// Makes a temporary directory on the store's file system, in the part of it that is gabion's.
    pub fn temporary_directory(&self) -> Result<TemporaryDirectory> {
        TempDir::below(self.layout().private_temp_dirs()).map(TemporaryDirectory)
    }
}

/// Removes the temporary directories, and the lock files of claims, of processes that are gone.
pub(crate) fn remove_stale(layout: &Layout) -> Result<()> {
    remove_stale_in(layout.temp_dirs())?;
    remove_stale_in(layout.private_temp_dirs())?;
    remove_stale_in(layout.claims())
}

fn remove_stale_in(parent: PathBuf) -> Result<()> {
    let entries = match fs::read_dir(&parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", &parent)(error)),
    };
    let mut suffixes = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(Error::io("read", &parent))?.file_name();
        let name = name.to_string_lossy();
        if let Some(suffix) = name.strip_prefix("lock-").or_else(|| name.strip_prefix("temp-dir-")) {
            suffixes.insert(suffix.to_owned());
        }
    }
    for suffix in suffixes {
        let lock_path = parent.join(format!("lock-{suffix}"));
        let Some(guard) = LockFile::new(lock_path.clone()).try_write()? else { continue };
        if guard.is_current() {
            remove_tree(&parent.join(format!("temp-dir-{suffix}")))?;
            remove_file(&lock_path)?;
        }
    }
    Ok(())
}

/// Makes a directory, mode 0700, unless it is there.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
}

/// Removes a directory and all in it; a missing one is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a file; a missing one is fine.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
