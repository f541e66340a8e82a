//! The bundle: a directory for one run, removed with all in it when the run is over.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The directory of a run.
#[derive(Debug)]
pub(crate) struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// Creates it; its name must be new, its parent there. A bundle has secrets (`environ`), so it
    /// is for its owner alone.
    pub fn create(path: &Path) -> std::io::Result<Bundle> {
        std::fs::DirBuilder::new().mode(0o700).create(path)?;
        Ok(Bundle { path: path.canonicalize()? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that may be read by all inside the process's root, and gives its path.
    pub fn write(&self, name: &str, content: &[u8], mode: u32) -> std::io::Result<PathBuf> {
        use std::io::Write as _;
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path.join(name);
        let mut file = std::fs::File::create_new(&path)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        Ok(path)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
