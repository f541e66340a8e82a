//! Files of the host that join the image, and not the container.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use oci::{History, LayerId};
use rootfs::Root;
use store::{StagedLayer, Store};

use super::{CommitError, CommitOptions, ReadyLayer, diff_options, new_layer};
use crate::copy::{Chmod, CopyOptions, Prepared, Source, Tree};

/// The mode of what is added.
const MODE: &str = "0644";

/// A layer with the files, over the directories `below`, top first; `parent` is the topmost of these.
pub(super) fn layer(
    store: &Store,
    below: &[PathBuf],
    parent: Option<LayerId>,
    options: &CommitOptions,
    created: Timestamp,
) -> Result<ReadyLayer, CommitError> {
    let staged = stage(store, below, options, created)?;
    let lowers = below.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
    let upper = Root::open(staged.diff_dir())?;
    let summary = layers::seal_in_place(&upper, &lowers, io::sink(), staged.tar_split_file()?, &diff_options(options))?;
    Ok((staged, new_layer(parent, summary)))
}

/// The files, copied over the directories `below`, top first.
pub(crate) fn stage(
    store: &Store,
    below: &[PathBuf],
    options: &CommitOptions,
    created: Timestamp,
) -> Result<StagedLayer, CommitError> {
    in_private_mounts(|| {
        let staged = store.stage_layer()?;
        let mount = store.mount_staged(&staged, below)?;
        copy_files(store, mount.path(), options, created)?;
        mount.finish()?;
        Ok(staged)
    })
}

/// What the history says of the layer.
pub(crate) fn history(options: &CommitOptions, created: Timestamp, author: &str) -> History {
    let targets: Vec<&str> = options.add_files.iter().map(|(_, target)| target.as_str()).collect();
    History {
        created: Some(created),
        created_by: format!("/bin/sh -c #(nop) ADD file in {} ", targets.join(" ")),
        author: author.to_owned(),
        ..History::default()
    }
}

fn copy_files(store: &Store, root: &Path, options: &CommitOptions, created: Timestamp) -> Result<(), CommitError> {
    let root = Root::open(root)?;
    for (file, target) in &options.add_files {
        let mut copy = CopyOptions::new(vec![Source::Path(literal(file)?)], Tree::Host, target.as_str());
        copy.chmod = Chmod::parse(MODE).ok();
        copy.timestamp = Some(created.as_second());
        Prepared::new(store, &copy)?.copy_into(&root, "/")?;
    }
    Ok(())
}

/// The absolute path as a pattern that matches nothing else.
fn literal(file: &Path) -> Result<String, CommitError> {
    let unusable = |error: io::Error| CommitError::File { path: file.to_owned(), error };
    let path = std::path::absolute(file).map_err(unusable)?;
    let text = path.to_str().ok_or_else(|| unusable(io::Error::other("the name is not UTF-8")))?;
    let special = |c: char| matches!(c, '*' | '?' | '[' | '\\');
    Ok(text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect())
}

/// Does `work` on a thread whose mounts nobody else sees.
fn in_private_mounts<T: Send>(work: impl FnOnce() -> Result<T, CommitError> + Send) -> Result<T, CommitError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            store::enter_private_mounts()?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
