//! Every entry below a directory, depth first, each directory's names in the order of their
//! bytes: the same tree gives the same order everywhere.
//!
//! No path is ever given to the kernel, only names in open directories, so depth and length have
//! no limit; few descriptors are open at once, the rest are opened again through `..` and checked.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::{Context, Error, Result};
use crate::metadata::Metadata;
use crate::root::Root;

/// Directories on the way down that are kept open.
const OPEN_DIRS: usize = 64;

/// An entry met on a walk.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The path relative to where the walk began.
    pub path: &'a Path,
    /// The directory it is in.
    pub dir: &'a Dir,
    /// Its name there.
    pub name: &'a OsStr,
    /// What it is, as seen when it was met; a symlink is itself.
    pub metadata: Metadata,
}

/// What a walk reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// An entry, directories before what is in them.
    Entry(Entry<'a>),
    /// All that is in a directory has been reported. Not for directories skipped.
    Leave(Entry<'a>),
}

/// What a walk does after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on; into the directory if the event was one.
    Descend,
    /// Leave out what is in the directory.
    Skip,
}

struct Frame {
    /// `None` while closed to save descriptors.
    dir: Option<Dir>,
    names: std::vec::IntoIter<OsString>,
    /// The directory's own metadata; of the top, none.
    metadata: Option<Metadata>,
}

/// Walks everything below `root`, not the root itself. The visitor may remove or change what it
/// has been told of.
pub fn walk<E: From<Error>>(root: &Root, visit: impl FnMut(Event<'_>) -> Result<Next, E>) -> Result<(), E> {
    walk_below(root.top(), visit)
}

/// Walks everything below `dir`, not itself; paths are relative to it.
pub fn walk_below<E: From<Error>>(dir: &Dir, mut visit: impl FnMut(Event<'_>) -> Result<Next, E>) -> Result<(), E> {
    let top = dir.open_dir(".")?;
    let names = top.names()?.into_iter();
    let mut frames = vec![Frame { dir: Some(top), names, metadata: None }];
    let mut path = PathBuf::new();
    while let Some(frame) = frames.last_mut() {
        let Some(dir) = &frame.dir else { break };
        if let Some(name) = frame.names.next() {
            path.push(&name);
            let metadata = match dir.metadata(&name) {
                Ok(metadata) => metadata,
                // Gone since it was listed.
                Err(error) if error.errno() == Errno::NOENT => {
                    path.pop();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let next = visit(Event::Entry(Entry { path: &path, dir, name: &name, metadata }))?;
            if metadata.is_dir() && next == Next::Descend {
                let below = dir.open_dir(&name)?;
                let names = below.names()?.into_iter();
                frames.push(Frame { dir: Some(below), names, metadata: Some(metadata) });
                close_distant(&mut frames);
            } else {
                path.pop();
            }
            continue;
        }
        let Some(Frame { dir: Some(done), metadata: Some(metadata), .. }) = frames.pop() else { break };
        let Some(parent) = frames.last_mut() else { break };
        let dir = match parent.dir.take() {
            Some(dir) => dir,
            None => reopen_parent(&done, path.parent().unwrap_or(Path::new("")), parent.metadata)?,
        };
        drop(done);
        let name = path.file_name().unwrap_or_default();
        visit(Event::Leave(Entry { path: &path, dir: &dir, name, metadata }))?;
        parent.dir = Some(dir);
        path.pop();
    }
    Ok(())
}

/// Removes all that is in a directory.
pub(crate) fn empty(dir: Dir) -> Result<()> {
    walk_below(&dir, |event| {
        match event {
            Event::Entry(entry) if entry.metadata.is_dir() => {}
            Event::Entry(entry) => entry.dir.remove_file(entry.name)?,
            Event::Leave(entry) => entry.dir.remove_dir(entry.name)?,
        }
        Ok(Next::Descend)
    })
}

fn close_distant(frames: &mut [Frame]) {
    if let Some(index) = frames.len().checked_sub(OPEN_DIRS)
        && index > 0
        && let Some(frame) = frames.get_mut(index)
    {
        frame.dir = None;
    }
}

/// Opens the directory above `child` again, which must still be the one that was left.
fn reopen_parent(child: &Dir, path: &Path, expected: Option<Metadata>) -> Result<Dir> {
    const OP: &str = "go back to directory";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(child, "..", flags, Mode::empty()).doing(OP, path)?;
    let found = Metadata::from_stat(&rustix::fs::fstat(&fd).doing(OP, path)?);
    match expected {
        Some(expected) if (expected.device, expected.inode) == (found.device, found.inode) => {
            Ok(Dir::from_fd(fd, path))
        }
        _ => Err(Error::new(OP, path, Errno::STALE)),
    }
}
