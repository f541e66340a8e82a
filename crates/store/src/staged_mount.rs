//! Steps of a build: staged layers, each mounted over those before it. No record and no count says
//! so; the mounts belong to the thread that made them.

use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::mount::{MountPropagationFlags, mount_change};

use crate::layer_stack::MAX_LOWERS;
use crate::overlay::{self, Overlay};
use crate::staging::make_dir;
use crate::{Error, Result, StagedLayer, Store};

/// Gives the calling thread a mount namespace of its own, which the processes and threads that it
/// starts share. What is mounted in it is gone with the last of them, whatever ends them; mounts
/// that others make later on do come through.
///
/// # Errors
/// [`Error::Mount`] without the right to do so.
pub fn enter_private_mounts() -> Result<()> {
    let root = Path::new("/");
    let failed = |source| Error::Mount { path: root.to_owned(), source };
    nix::sched::unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(|errno| failed(errno.into()))?;
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change(root, flags).map_err(|errno| failed(errno.into()))
}

/// A staged layer that is mounted, writable, over others; unmounted when dropped.
#[derive(Debug)]
pub struct StagedMount {
    path: PathBuf,
    /// What it began as and where its changes go, if it is a whole tree.
    whole: Option<WholeTree>,
}

#[derive(Debug)]
struct WholeTree {
    below: PathBuf,
    diff: PathBuf,
}

impl WholeTree {
    fn find_changes(self, tree: &Path) -> Result<()> {
        crate::staging::remove_tree(&self.diff)?;
        crate::whole_trees::compare(tree, &self.below, &self.diff)?;
        crate::layer_dir::set_root_attributes(&self.diff, Some(tree))?;
        crate::staging::remove_tree(tree)?;
        crate::staging::remove_tree(&self.below)
    }
}

impl StagedMount {
    /// Where it is mounted, for this thread's mount namespace.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it: the layer's files are complete.
    ///
    /// # Errors
    /// [`Error::Changes`], with vfs.
    pub fn finish(mut self) -> Result<()> {
        match self.whole.take() {
            Some(whole) => whole.find_changes(&self.path),
            None => Ok(()),
        }
    }
}

impl Drop for StagedMount {
    fn drop(&mut self) {
        if let Some(whole) = self.whole.take() {
            // What a step that failed has left is kept as far as it goes.
            let _ = whole.find_changes(&self.path);
        }
        // What stays mounted goes with the namespace.
        let _ = overlay::detach(&self.path);
    }
}

impl Store {
    /// Mounts `staged` over the directories `lowers`, top first: what is written goes to
    /// [`StagedLayer::diff_dir`] (with vfs when the mount ends), which nobody may touch meanwhile. Nothing survives a power cut
    /// before the layer is published.
    ///
    /// To be called on a thread with mounts of its own ([`enter_private_mounts`]): elsewhere a kill
    /// leaves the mount behind.
    ///
    /// # Errors
    /// [`Error::Mount`], [`Error::TooManyLayers`] with more lower directories than the kernel stacks.
    pub fn mount_staged(&self, staged: &StagedLayer, lowers: &[PathBuf]) -> Result<StagedMount> {
        let dir = staged.temp.path();
        if self.has_whole_trees() {
            let (path, below) = (dir.join("merged"), dir.join("below"));
            for place in [&path, &below] {
                crate::staging::remove_tree(place)?;
                self.flatten(lowers, place)?;
            }
            return Ok(StagedMount { path, whole: Some(WholeTree { below, diff: staged.diff_dir().to_owned() }) });
        }
        let (path, work, empty) = (dir.join("merged"), dir.join("work"), dir.join("empty"));
        for dir in [&path, &work, &empty] {
            make_dir(dir)?;
        }
        if lowers.len() > MAX_LOWERS {
            return Err(Error::TooManyLayers { count: lowers.len() });
        }
        crate::layer_dir::set_root_attributes(staged.diff_dir(), lowers.first().map(PathBuf::as_path))?;
        // Left by an earlier mount, the mark of `volatile` refuses this one.
        crate::staging::remove_tree(&work.join("work/incompat/volatile"))?;
        let overlay = Overlay {
            lowers: if lowers.is_empty() { vec![empty] } else { lowers.to_vec() },
            upper: Some((staged.diff_dir().to_owned(), work)),
            options: self.options().mount_options.clone(),
            volatile: true,
            label: String::new(),
        };
        let failed = |source| Error::Mount { path: path.clone(), source };
        match overlay.create() {
            Ok(mount) => overlay::attach(&mount, &path).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                let home = self.layout().home();
                overlay.mount_in(&home, &crate::mounts::short_names(&overlay.lowers, &home), &path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(StagedMount { path, whole: None })
    }
}
