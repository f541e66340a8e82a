//! A file system in memory that begins as a copy of the directory it covers.

use std::ffi::OsStr;

use rootfs::{Device, Dir, FileType, Metadata};
use rustix::io::Errno;

/// Directories are not copied deeper than this.
const DEPTH: usize = 128;

/// Copies what is in `from` into `to`, which is empty and gets the owner and the mode of `from`.
pub(crate) fn copy_up(from: &Dir, to: &Dir) -> Result<(), Errno> {
    let top = OsStr::new(".");
    copy_below(from, to, DEPTH)?;
    look_like(from, to, top, &from.metadata(top).map_err(code)?).map_err(code)
}

fn copy_below(from: &Dir, to: &Dir, depth: usize) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    // Opened anew: a handle on a place has no names to read.
    let from = from.open_dir(".").map_err(code)?;
    for name in from.names().map_err(code)? {
        let found = from.metadata(&name).map_err(code)?;
        match found.file_type {
            FileType::Directory => {
                to.create_dir(&name, 0o700).map_err(code)?;
                copy_below(&from.open_dir(&name).map_err(code)?, &to.open_dir(&name).map_err(code)?, depth)?;
            }
            FileType::File => {
                let mut file = to.create_file(&name, 0o600).map_err(code)?;
                let mut content = from.open_file(&name).map_err(code)?;
                std::io::copy(&mut content, &mut file).map_err(|error| super::tree::errno(&error))?;
            }
            FileType::Symlink => {
                to.symlink(from.read_link(&name).map_err(code)?, &name).map_err(code)?;
            }
            // They mean nothing there.
            FileType::CharDevice | FileType::BlockDevice => continue,
            kind => to.mknod(&name, kind, found.mode, Device::default()).map_err(code)?,
        }
        look_like(&from, to, &name, &found).map_err(code)?;
    }
    Ok(())
}

fn code(error: rootfs::Error) -> Errno {
    error.errno()
}

fn look_like(from: &Dir, to: &Dir, name: &OsStr, found: &Metadata) -> rootfs::Result<()> {
    to.set_owner(name, found.owner)?;
    if found.file_type != FileType::Symlink {
        to.set_mode(name, found.mode)?;
    }
    for (key, value) in from.xattrs(name)? {
        // Those that memory does not keep, it does without.
        let _ = to.set_xattr(name, key, &value);
    }
    to.set_times(name, found.atime, found.mtime)
}
