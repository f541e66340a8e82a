//! The files of an image, all layers flattened, in a directory or a tar.
//!
//! A directory is filled in two steps: all is unpacked into a new directory inside of it, which is
//! then merged by renames. So nothing half-written ever has its final name, and no symlink that
//! lies in the destination is followed: what is in the way of a directory goes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use layers::{DiffError, DiffOptions};
use rootfs::{Dir, Root};
use rustix::fs::FlockOperation;
use store::Store;

use super::{Destination, OutputError};
use crate::image::Image;
use crate::transport::spool::Archive;

/// Writes the image's files to the directory `dir`, which is made if it is missing; what is there
/// already stays unless the image has the same name.
pub(super) fn to_directory(store: &Store, image: &Image, dir: &Path) -> Result<(), OutputError> {
    let to = dir.display().to_string();
    let failed = |source| OutputError::Write { to: to.clone(), source };
    let is_new = !dir.exists();
    fs::create_dir_all(dir).map_err(failed)?;
    let result = fill(store, image, dir);
    if result.is_err() && is_new {
        // Somebody may have put something into it meanwhile.
        let _ = fs::remove_dir(dir);
    }
    result
}

fn fill(store: &Store, image: &Image, dir: &Path) -> Result<(), OutputError> {
    let to = || dir.display().to_string();
    let tree_error = |source| OutputError::Tree { to: to(), source };
    let new = tempfile::Builder::new()
        .prefix(".gabion-output-")
        .tempdir_in(dir)
        .map_err(|source| OutputError::Write { to: to(), source })?;
    let unpacked = new.path().join("files");
    fs::create_dir(&unpacked).map_err(|source| OutputError::Write { to: to(), source })?;
    let from = Root::open(&unpacked).map_err(tree_error)?;
    let (reader, writer) = io::pipe().map_err(|source| OutputError::Write { to: to(), source })?;
    let (read, unpacked) = std::thread::scope(|scope| {
        let read = scope.spawn(|| write_tar(store, image, writer, &to()));
        let unpacked = layers::unpack(reader, &from);
        match read.join() {
            Ok(read) => (read, unpacked),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    match (read, unpacked) {
        // The tar only broke off because nobody read it any more.
        (Err(OutputError::Read { source: DiffError::Write(_), .. }) | Ok(()), Err(source)) => {
            return Err(OutputError::Unpack { to: to(), source });
        }
        (read, _) => read?,
    }
    let into = Root::open(dir).map_err(tree_error)?;
    let locked = File::open(dir).map_err(|source| OutputError::Write { to: to(), source })?;
    // One build after the other; a file system that has no locks has to do without.
    let _ = rustix::io::retry_on_intr(|| rustix::fs::flock(&locked, FlockOperation::LockExclusive));
    merge(from.top(), into.top()).map_err(tree_error)
}

/// Moves all that is in `from` into `into`. Directories are merged and get the attributes of the
/// one that comes; anything else in the way goes.
fn merge(from: &Dir, into: &Dir) -> rootfs::Result<()> {
    for name in from.names()? {
        let new = from.metadata(&name)?;
        let old = into.metadata_if_exists(&name)?;
        if !new.is_dir() || !old.is_some_and(|old| old.is_dir()) {
            if old.is_some() {
                into.remove_all(&name)?;
            }
            from.rename(&name, into, &name)?;
            continue;
        }
        merge(&from.open_dir(&name)?, &into.open_dir(&name)?)?;
        into.set_owner(&name, new.owner)?;
        into.set_mode(&name, new.mode)?;
        for (key, value) in from.xattrs(&name)? {
            into.set_xattr(&name, key, &value)?;
        }
        into.set_times(&name, new.atime, new.mtime)?;
    }
    Ok(())
}

/// Writes the image's files as one tar.
pub(super) fn to_tar(store: &Store, image: &Image, to: &Destination, stdout: Option<&File>) -> Result<(), OutputError> {
    with_tar(to, stdout, |out, name| write_tar(store, image, out, name))
}

/// Writes the files in a directory as one tar.
pub(super) fn directory_to_tar(dir: &Path, to: &Destination, stdout: Option<&File>) -> Result<(), OutputError> {
    with_tar(to, stdout, |out, name| write_tree(dir, out, name))
}

/// Lets `write` write a tar to `to`, which it also gets the name of.
fn with_tar(
    to: &Destination,
    stdout: Option<&File>,
    write: impl FnOnce(&mut (dyn Write + Send), &str) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    let failed = |to: &str, source| OutputError::Write { to: to.to_owned(), source };
    let path: &PathBuf = match to {
        Destination::Stdout => {
            let name = "standard output";
            let mut stdout = stdout.ok_or_else(|| failed(name, io::ErrorKind::NotConnected.into()))?;
            return write(&mut stdout, name);
        }
        Destination::Path(path) => path,
    };
    let name = path.display().to_string();
    // A device or pipe is written to; a file is replaced when the new one is complete.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(|source| failed(&name, source))?;
        return write(&mut file, &name);
    }
    let mut archive = Archive::create(path)?;
    write(&mut archive, &name)?;
    Ok(archive.keep(path)?)
}

fn write_tar(store: &Store, image: &Image, out: impl Write + Send, to: &str) -> Result<(), OutputError> {
    let tree = image.top_layer().map(|top| store.open_layer_tree(top)).transpose()?;
    let empty;
    let path = match &tree {
        Some(tree) => tree.path(),
        None => {
            empty = store.temporary_directory()?;
            empty.path().to_owned()
        }
    };
    write_tree(&path, out, to)
}

fn write_tree(path: &Path, out: impl Write + Send, to: &str) -> Result<(), OutputError> {
    let root = Root::open(path).map_err(|source| OutputError::Tree { to: to.to_owned(), source })?;
    layers::diff(&root, &[], out, io::sink(), &DiffOptions::default())
        .map(drop)
        .map_err(|source| OutputError::Read { to: to.to_owned(), source })
}
