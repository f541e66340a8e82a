//! Two whole trees ⇄ the changes between them, as the diff dir that overlay would have: for a store
//! whose layers each hold everything.
//!
//! ```text
//! tree, below ──compare──▶ diff dir          tree below + diff dir ──lay_over──▶ tree
//! ```
//! What has changed is what differs in type, mode, owner, size, modification time, link text,
//! device number or attributes; no content is read.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rootfs::{Device, Dir, Entry, Event, FileType, Metadata, Next, Root};
use rustix::io::Errno;

use crate::diff::{self, DiffError, DiffOptions};
use crate::seal::{Copy, Target};
use crate::whiteout;

/// Writes to `into`, an empty directory, what makes `below` the same as `tree`: changed entries as
/// [`crate::copy`] would copy them, deleted ones as whiteouts. Times of the top do not count, nor do
/// its mode and owner.
pub fn compare(tree: &Root, below: &Root, into: &Root) -> Result<(), DiffError> {
    let mut changes = Changes { below, last: None, changed: HashSet::new(), deleted: Vec::new() };
    changes.note_deleted(tree.top(), Path::new(""))?;
    rootfs::walk(tree, |event| match event {
        Event::Entry(entry) => changes.entry(&entry),
        Event::Leave(_) => Ok::<_, rootfs::Error>(Next::Descend),
    })?;
    let target = Target::Copy(Copy::into_empty(into));
    diff::walk_only(tree, &[], Some(&changes.changed), &DiffOptions::default(), target)?;
    for path in &changes.deleted {
        into.mknod(path, FileType::CharDevice, 0, Device::default())?;
        let parent = path.parent().unwrap_or(Path::new(""));
        if !parent.as_os_str().is_empty() {
            let mtime = tree.metadata(parent)?.mtime;
            into.set_times(parent, mtime, mtime)?;
        }
    }
    Ok(())
}

/// Makes `tree` what overlay would show of `diff_dir` over it. Its top keeps its mode and owner.
pub fn lay_over(diff_dir: &Root, tree: &Root) -> Result<(), DiffError> {
    let target = Target::Copy(Copy::over(tree));
    diff::walk(diff_dir, std::slice::from_ref(tree), &DiffOptions::default(), target)
}

struct Changes<'a> {
    below: &'a Root,
    /// The directory of the tree below that was looked at last, if there is one of that path.
    last: Option<(PathBuf, Option<Dir>)>,
    /// Changed entries and all directories that they are in.
    changed: HashSet<PathBuf>,
    deleted: Vec<PathBuf>,
}

impl Changes<'_> {
    fn entry(&mut self, entry: &Entry<'_>) -> rootfs::Result<Next> {
        let parent = entry.path.parent().unwrap_or(Path::new(""));
        let dir = self.dir_below(parent)?;
        let before = match dir {
            Some(dir) => dir.metadata_if_exists(entry.name)?,
            None => None,
        };
        if entry.metadata.file_type == FileType::Socket {
            // No layer has one: what it has taken the place of is gone.
            if before.is_some_and(|before| before.file_type != FileType::Socket) {
                self.delete(entry.path.to_owned());
            }
            return Ok(Next::Skip);
        }
        let is_same = match (dir, &before) {
            (Some(dir), Some(before)) => is_same(entry, dir, before)?,
            _ => false,
        };
        if !is_same {
            self.mark(entry.path);
        }
        if entry.metadata.is_dir() && before.is_some_and(|before| before.is_dir()) {
            self.note_deleted(&entry.dir.open_dir(entry.name)?, entry.path)?;
        }
        Ok(Next::Descend)
    }

    /// Notes what the directory below at `path` has and `dir` has not.
    fn note_deleted(&mut self, dir: &Dir, path: &Path) -> rootfs::Result<()> {
        let Some(below) = self.dir_below(path)? else { return Ok(()) };
        for name in below.names()? {
            if dir.metadata_if_exists(&name)?.is_none() {
                self.delete(path.join(name));
            }
        }
        Ok(())
    }

    fn delete(&mut self, path: PathBuf) {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.mark(parent);
        }
        self.deleted.push(path);
    }

    fn mark(&mut self, path: &Path) {
        for path in path.ancestors().take_while(|path| !path.as_os_str().is_empty()) {
            if !self.changed.insert(path.to_owned()) {
                break;
            }
        }
    }

    /// The directory at `path` in the tree below; no symlink on the way is followed.
    fn dir_below(&mut self, path: &Path) -> rootfs::Result<Option<&Dir>> {
        let dir = match self.last.take() {
            Some((last, dir)) if last == path => dir,
            _ => open_below(self.below, path)?,
        };
        Ok(self.last.insert((path.to_owned(), dir)).1.as_ref())
    }
}

fn open_below(root: &Root, path: &Path) -> rootfs::Result<Option<Dir>> {
    let mut dir = root.top().open_dir(".")?;
    for name in path {
        dir = match dir.open_dir(name) {
            Ok(dir) => dir,
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(Some(dir))
}

/// Whether the entry is what `dir` has under its name.
fn is_same(entry: &Entry<'_>, dir: &Dir, before: &Metadata) -> rootfs::Result<bool> {
    let now = &entry.metadata;
    let is_same = now.file_type == before.file_type
        && (now.is_symlink() || now.mode == before.mode)
        && now.owner == before.owner
        && now.mtime == before.mtime
        && (!now.is_file() || now.size == before.size)
        && now.rdev == before.rdev;
    if !is_same {
        return Ok(false);
    }
    if now.is_symlink() && entry.dir.read_link(entry.name)? != dir.read_link(entry.name)? {
        return Ok(false);
    }
    Ok(carried(entry.dir, entry.name)? == carried(dir, entry.name)?)
}

/// The attributes that a layer carries.
fn carried(dir: &Dir, name: &OsStr) -> rootfs::Result<Vec<(std::ffi::OsString, Vec<u8>)>> {
    let mut xattrs = dir.xattrs(name)?;
    xattrs.retain(|(key, _)| whiteout::is_carried_xattr(key));
    Ok(xattrs)
}
