//! Renames below the graph root, whatever is mounted there.
//!
//! While a Go tool has a container mounted, `overlay/` is bind-mounted on itself, and a rename
//! between it and its siblings fails with EXDEV although all is on one file system. In a detached
//! clone of the graph root's mount there is no such bind mount.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::layout::{Layout, below};
use crate::{Error, Result};

/// Renames `from` to `to`, both below the graph root.
pub(crate) fn rename(layout: &Layout, from: &Path, to: &Path) -> Result<()> {
    move_with(layout, from, to, RenameFlags::empty())
}

/// Exchanges two files or directories below the graph root.
pub(crate) fn exchange(layout: &Layout, one: &Path, other: &Path) -> Result<()> {
    move_with(layout, one, other, RenameFlags::EXCHANGE)
}

/// Renames a file, or copies it where `overlay/` really is another file system.
pub(crate) fn rename_or_copy(layout: &Layout, from: &Path, to: &Path) -> Result<()> {
    match rename(layout, from, to) {
        Err(Error::Io { source, .. })
            if matches!(source.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::NotFound) && from.exists() =>
        {
            let copy = || -> io::Result<()> {
                fs::copy(from, to)?;
                fs::set_permissions(to, fs::Permissions::from_mode(0o600))?;
                fs::File::open(to)?.sync_all()?;
                fs::remove_file(from)
            };
            copy().map_err(Error::io("copy", from))
        }
        result => result,
    }
}

fn move_with(layout: &Layout, from: &Path, to: &Path, flags: RenameFlags) -> Result<()> {
    match renameat_with(CWD, from, CWD, to, flags) {
        Err(Errno::XDEV) => {
            let root = &layout.graph_root;
            let (Some(from_below), Some(to_below)) = (below(from, root), below(to, root)) else {
                return Err(Error::io("rename", from)(Errno::XDEV));
            };
            let tree = open_tree(CWD, root, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
                .map_err(Error::io("open", root))?;
            renameat_with(&tree, from_below, &tree, to_below, flags).map_err(Error::io("rename", from))
        }
        result => result.map_err(Error::io("rename", from)),
    }
}
