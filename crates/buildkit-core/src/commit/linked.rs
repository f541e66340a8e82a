//! What was copied with `--link`: layers of their own, whatever is below them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, DiffOptions, Mtimes};
use oci::LayerId;
use rootfs::Root;
use store::{NewLayer, StagedLayer, Store};

use super::{CommitError, CommitOptions, ReadyLayer, new_layer};
use crate::working_container::LinkedLayer;

/// The files of a linked layer, as a directory that overlayfs can stack.
pub(super) enum Files {
    /// They are there.
    There(PathBuf),
    /// They were unpacked.
    Unpacked(StagedLayer),
}

impl Files {
    /// Where they are.
    pub fn path(&self) -> &Path {
        match self {
            Files::There(path) => path,
            Files::Unpacked(staged) => staged.diff_dir(),
        }
    }
}

/// Those that have files. One without is, as with Buildah, as good as none.
pub(super) fn with_files(layers: &[LinkedLayer]) -> impl Iterator<Item = &LinkedLayer> {
    layers.iter().filter(|layer| !layer.blob_path.as_os_str().is_empty())
}

/// Where a linked layer's files are.
pub(super) fn files(store: &Store, linked: &LinkedLayer) -> Result<Files, CommitError> {
    if is_directory(linked)? {
        return Ok(Files::There(linked.blob_path.clone()));
    }
    let staged = store.stage_layer()?;
    unpack(linked, &staged)?;
    Ok(Files::Unpacked(staged))
}

/// The layer over the directories `below`, top first; `parent` is the topmost of these.
pub(super) fn layer(
    store: &Store,
    linked: &LinkedLayer,
    below: &[PathBuf],
    parent: Option<LayerId>,
    options: &CommitOptions,
) -> Result<ReadyLayer, CommitError> {
    let staged = store.stage_layer()?;
    let into = Root::open(staged.diff_dir())?;
    let diff_options = DiffOptions { mtimes: options.times.of_files(), ..DiffOptions::default() };
    let summary = if is_directory(linked)? {
        let from = Root::open(&linked.blob_path)?;
        layers::seal_copy(&from, &[], &into, io::sink(), staged.tar_split_file()?, &diff_options)?
    } else {
        let unpacked = unpack(linked, &staged)?;
        if diff_options.mtimes == Mtimes::Keep {
            let new = NewLayer { parent, ..unpacked };
            return Ok((staged, new));
        }
        let lowers = below.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
        layers::seal_in_place(&into, &lowers, io::sink(), staged.tar_split_file()?, &diff_options)?
    };
    Ok((staged, new_layer(parent, summary)))
}

fn is_directory(linked: &LinkedLayer) -> Result<bool, CommitError> {
    Ok(fs::metadata(&linked.blob_path).map_err(|error| lost(linked, error.to_string()))?.is_dir())
}

fn unpack(linked: &LinkedLayer, staged: &StagedLayer) -> Result<NewLayer, CommitError> {
    let tar = File::open(&linked.blob_path).map_err(|error| lost(linked, error.to_string()))?;
    let into = Root::open(staged.diff_dir())?;
    let unpacked = layers::apply(tar, &into, staged.tar_split_file()?, &ApplyOptions::default())
        .map_err(|error| lost(linked, error.to_string()))?;
    Ok(NewLayer {
        uid_set: unpacked.uid_set.into_iter().collect(),
        gid_set: unpacked.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(None, unpacked.diff_id, unpacked.size)
    })
}

fn lost(linked: &LinkedLayer, reason: String) -> CommitError {
    CommitError::Linked { path: linked.blob_path.clone(), reason }
}
