//! The build context.

use std::path::{Path, PathBuf};

use crate::command_error::CommandError;

/// The directory that `path` names.
pub(super) fn context_dir(path: &Path) -> Result<PathBuf, CommandError> {
    let text = path.to_string_lossy();
    if text == "-" || text.contains("://") {
        return Err(CommandError::new(format!("build context {text} is not supported: expected a directory")));
    }
    let failed = |error: std::io::Error| CommandError::new(format!("build context {text}: {error}"));
    let dir = path.canonicalize().map_err(failed)?;
    if !dir.is_dir() {
        return Err(CommandError::new(format!("build context {text} is no directory")));
    }
    Ok(dir)
}
