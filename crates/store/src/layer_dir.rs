//! The directory of one layer: `diff`, `link`, `lower`, `work`, `merged`, `empty`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use oci::LayerId;

use crate::layout::Layout;
use crate::staging::remove_file;
use crate::{Error, Result};

/// What a layer's directory needs to know of the layer below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    /// Its `lower` entry and those below it: the content of the new layer's `lower`.
    pub lower: String,
    /// Whose mode and owner the new `diff` takes.
    pub diff: PathBuf,
}

impl Below {
    /// Reads it from the parent's directory `dir`.
    pub fn read(dir: &Path) -> Result<Below> {
        let link = read_short(&dir.join("link"))?;
        let lower_path = dir.join("lower");
        let lower = if lower_path.exists() { Some(read_short(&lower_path)?) } else { None };
        Ok(Below::new(&link, lower.as_deref(), dir.join("diff")))
    }

    pub fn new(link: &str, lower: Option<&str>, diff: PathBuf) -> Below {
        let lower = match lower.filter(|lower| !lower.is_empty()) {
            Some(rest) => format!("l/{link}:{rest}"),
            None => format!("l/{link}"),
        };
        Below { lower, diff }
    }
}

fn read_short(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(Error::Damaged { path: path.to_owned(), reason: "expected the layer's short name".into() }),
    }
}

/// Whether [`complete`] syncs the files that it writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// An image's layer.
    Synced,
    /// A working container's.
    Volatile,
}

/// Makes of `dir`, which may have a `diff` already, all that a layer's directory holds. Gives the
/// short name in `link`, whose symlink [`make_link`] makes.
pub(crate) fn complete(dir: &Path, below: Option<&Below>, durability: Durability) -> Result<String> {
    let make = |name: &str| {
        let path = dir.join(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("create", &path)(error)),
            _ => Ok(path),
        }
    };
    set_root_attributes(&make("diff")?, below.map(|below| below.diff.as_path()))?;
    if below.is_none() {
        make("empty")?;
    }
    make("work")?;
    make("merged")?;
    let link = crate::random::link_name()?;
    write_short(&dir.join("link"), &link, durability)?;
    if let Some(below) = below {
        write_short(&dir.join("lower"), &below.lower, durability)?;
    }
    Ok(link)
}

/// Gives the root of a diff dir the mode and owner of the one below; without one, 0555 and root.
pub(crate) fn set_root_attributes(diff: &Path, below: Option<&Path>) -> Result<()> {
    let (uid, gid, mode) = match below {
        Some(below) => {
            let there = fs::metadata(below).map_err(Error::io("stat", below))?;
            (there.uid(), there.gid(), there.mode() & 0o7777)
        }
        None => (0, 0, 0o555),
    };
    chown(diff, Some(uid), Some(gid)).map_err(Error::io("change", diff))?;
    fs::set_permissions(diff, fs::Permissions::from_mode(mode)).map_err(Error::io("change", diff))
}

fn write_short(path: &Path, text: &str, durability: Durability) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o644).open(path)?;
        file.write_all(text.as_bytes())?;
        if durability == Durability::Synced { file.sync_data() } else { Ok(()) }
    };
    write().map_err(Error::io("write", path))
}

/// Makes the symlink `l/<link>`.
pub(crate) fn make_link(layout: &Layout, id: &LayerId, link: &str) -> Result<()> {
    let path = layout.links().join(link);
    symlink(format!("../{id}/diff"), &path).map_err(Error::io("create", &path))
}

/// Removes the symlink of the layer whose directory is `dir`.
pub(crate) fn remove_link(layout: &Layout, dir: &Path) -> Result<()> {
    match read_short(&dir.join("link")) {
        // A name with a slash is none of ours: it would lead out of `l/`.
        Ok(link) if !link.contains('/') => remove_file(&layout.links().join(link)),
        _ => Ok(()),
    }
}

/// Every directory that stacks for the layer itself: `diff`, then `diff1`… of an ID map change.
pub(crate) fn diffs(dir: &Path) -> Vec<PathBuf> {
    let mut diffs = vec![dir.join("diff")];
    for n in 1.. {
        let more = dir.join(format!("diff{n}"));
        if !more.is_dir() {
            break;
        }
        diffs.push(more);
    }
    diffs
}
