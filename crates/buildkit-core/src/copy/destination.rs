//! Where the sources go.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use rootfs::{Metadata, Owner, Root};

use super::{CopyError, Meaning};

/// Where things go: into a directory, under a name of their own or this one.
pub(super) struct Destination {
    /// Relative to the container's root, without symlinks.
    pub dir: PathBuf,
    /// Set if a single file gets a new name.
    pub name: Option<OsString>,
}

/// What the destination has to hold.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Whether there is more than one source, or a directory.
    pub needs_directory: bool,
}

/// Finds out where `given` is, resolved inside the container. With `link` nothing that is there
/// counts: no symlink is followed, and no directory makes another of a file's destination, unless Buildah's
/// rules hold.
pub(super) fn find(
    root: &Root,
    working_dir: &str,
    given: &str,
    load: Load,
    meaning: Meaning,
    link: bool,
) -> Result<Destination, CopyError> {
    let is_directory =
        link && meaning == Meaning::Buildah && find(root, working_dir, given, load, meaning, false)?.name.is_none();
    let working_dir = Path::new("/").join(working_dir);
    let path = working_dir.join(given);
    let names_directory = given.is_empty() || given.ends_with('/') || given.ends_with("/.") || given.ends_with("/..");
    let must_be_directory =
        names_directory || matches!(given, "." | "..") || path == working_dir || load.needs_directory;
    if link {
        let path = lexical(&path);
        return Ok(match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !must_be_directory && !is_directory => file(parent, name),
            _ => Destination { dir: path, name: None },
        });
    }
    let resolved = root.resolve(&path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Destination { dir: resolved, name: None });
    };
    if meaning == Meaning::BuildKit {
        // A symlink stands for what it points to, be that there or not.
        let is_directory = match root.metadata_if_exists(&resolved)? {
            Some(metadata) if !metadata.is_dir() && must_be_directory => {
                return Err(CopyError::NotADirectory(given.to_owned()));
            }
            Some(metadata) => metadata.is_dir(),
            None => must_be_directory,
        };
        return Ok(match (resolved.parent(), resolved.file_name()) {
            (Some(parent), Some(name)) if !is_directory => file(parent, name),
            _ => Destination { dir: resolved, name: None },
        });
    }
    let parent = root.resolve(parent)?;
    let existing = root.metadata_if_exists(parent.join(name))?;
    let target = match existing {
        // A symlink stands for what it points to; a dangling one for a directory to be made.
        Some(metadata) if metadata.is_symlink() => root.metadata_if_exists(&resolved)?,
        other => other,
    };
    let is_file = |target: Option<Metadata>| target.is_some_and(|target| !target.is_dir());
    match existing {
        None if !must_be_directory => Ok(file(&parent, name)),
        Some(_) if is_file(target) && must_be_directory => Err(CopyError::NotADirectory(given.to_owned())),
        // The symlink itself is replaced, not what it points to.
        Some(_) if is_file(target) => Ok(file(&parent, name)),
        _ => Ok(Destination { dir: resolved, name: None }),
    }
}

/// Makes the directories of `dir` as a layer of their own has them: whatever else is in the way is
/// replaced, and what is there already gets this mode and owner.
pub(super) fn make_fresh(root: &Root, dir: &Path, mode: u32, owner: Owner) -> Result<(), CopyError> {
    let mut at = root.top().try_clone()?;
    for part in dir.components() {
        let Component::Normal(name) = part else { continue };
        match at.metadata_if_exists(name)? {
            Some(existing) if existing.is_dir() => {}
            existing => {
                if existing.is_some() {
                    at.remove_all(name)?;
                }
                at.create_dir(name, 0o700)?;
            }
        }
        at.set_owner(name, owner)?;
        at.set_mode(name, mode)?;
        at = at.open_dir(name)?;
    }
    Ok(())
}

fn file(parent: &Path, name: &std::ffi::OsStr) -> Destination {
    Destination { dir: parent.to_owned(), name: Some(name.to_owned()) }
}

/// Relative to the root, without `.` and `..`.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}
