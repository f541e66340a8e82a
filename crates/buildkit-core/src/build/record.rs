//! Which builds are under way, so that what a killed one left is told from what users made.
//!
//! ```text
//! <graphroot>/gabion/builds/<id>    empty, locked while the build runs
//! ```
//! The build's containers carry its id in their records' metadata. A file whose lock is free is a
//! killed build's; a build that ends removes its file, and containers that it keeps are the user's.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use crate::lock_file;

/// Member of the metadata.
const KEY: &str = "gabion-build";

/// A build under way.
#[derive(Debug)]
pub(crate) struct BuildRecord {
    id: String,
    path: PathBuf,
    _lock: File,
}

impl BuildRecord {
    /// Notes below a store's private directory that a build begins.
    pub fn begin(private_directory: &Path) -> io::Result<BuildRecord> {
        let dir = private_directory.join("builds");
        fs::create_dir_all(&dir)?;
        loop {
            let file = tempfile::Builder::new().prefix("").rand_bytes(16).tempfile_in(&dir)?;
            let (_, path) = file.keep()?;
            let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            // Until it is locked, somebody may take it for a killed build's.
            if let Some(lock) = lock_file::acquire(&path, FlockOperation::NonBlockingLockExclusive)? {
                return Ok(BuildRecord { id, path, _lock: lock });
            }
        }
    }

    /// What the records of the build's containers say.
    pub fn metadata(&self) -> String {
        json!({ KEY: self.id }).to_string()
    }
}

impl Drop for BuildRecord {
    fn drop(&mut self) {
        // One that stays is a killed build's without containers.
        let _ = fs::remove_file(&self.path);
    }
}

/// A build that was killed; locked as long as this lives.
#[derive(Debug)]
pub(crate) struct KilledBuild {
    id: String,
    path: PathBuf,
    _lock: File,
}

impl KilledBuild {
    /// All killed builds below a store's private directory that nobody else cleans up after.
    pub fn list(private_directory: &Path) -> io::Result<Vec<KilledBuild>> {
        let entries = match fs::read_dir(private_directory.join("builds")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut killed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let (path, Ok(id)) = (entry.path(), entry.file_name().into_string()) else { continue };
            if let Some(lock) = lock_file::acquire_existing(&path, FlockOperation::NonBlockingLockExclusive)? {
                killed.push(KilledBuild { id, path, _lock: lock });
            }
        }
        Ok(killed)
    }

    /// Whether a container with this metadata is one of the build's.
    pub fn made(&self, metadata: &str) -> bool {
        let value: Option<Value> = serde_json::from_str(metadata).ok();
        value.is_some_and(|value| value.get(KEY).and_then(Value::as_str) == Some(&self.id))
    }

    /// Forgets the build: its containers are gone.
    pub fn forget(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_a_build_is_killed_if_its_file_stays_without_a_lock() {
        let dir = tempfile::tempdir().expect("temp dir");
        let running = BuildRecord::begin(dir.path()).expect("begun");
        let killed = BuildRecord::begin(dir.path()).expect("begun");
        let metadata = killed.metadata();
        fs::write(dir.path().join("builds/x"), "").expect("a file");
        fs::rename(dir.path().join("builds/x"), &killed.path).expect("another file, that nobody locks");
        std::mem::forget(killed);
        let found = KilledBuild::list(dir.path()).expect("read");
        assert_eq!(found.len(), 1);
        assert!(found[0].made(&metadata) && !found[0].made(&running.metadata()) && !found[0].made(""));
        found.into_iter().for_each(|build| build.forget().expect("removed"));
        drop(running);
        assert_eq!(fs::read_dir(dir.path().join("builds")).expect("read").count(), 0);
    }
}
