//! Layers that are whole trees: the vfs driver's.
//!
//! A staged layer has its changes alone, with whatever driver. What this driver does about it:
//! ```text
//! publish         the layer below, copied, and the changes laid over it
//! commit, step    the tree compared with the one below gives the changes
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use ::layers::DiffError;
use oci::{ContainerId, LayerId};
use rootfs::Root;

use crate::driver::Driver;
use crate::layer_dir;
use crate::publish::{NewLayer, StagedLayer};
use crate::staging::{TempDir, make_dir, remove_tree};
use crate::{AfterSeal, Error, Result, Store};

/// What a container changed, as the diff dir that a layer has.
#[derive(Debug)]
pub struct ContainerChanges {
    path: PathBuf,
    _temp: Option<TempDir>,
}

impl ContainerChanges {
    /// Where it is as long as this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Whether each layer of the store is a whole tree.
    pub(crate) fn has_whole_trees(&self) -> bool {
        self.layout().driver == Driver::Vfs
    }

    /// What the container changed: its upper dir itself, or with vfs what a comparison with the layer
    /// below finds.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`], [`Error::Changes`].
    pub fn container_changes(&self, id: &ContainerId) -> Result<ContainerChanges> {
        let path = self.upper_dir(id)?;
        if !self.has_whole_trees() {
            return Ok(ContainerChanges { path, _temp: None });
        }
        let temp = TempDir::new(self.layout())?;
        let changes = temp.path().join("changes");
        self.compare_container(id, &changes)?;
        Ok(ContainerChanges { path: changes, _temp: Some(temp) })
    }

    /// Makes at `into` the changes of a container with a whole tree.
    pub(crate) fn compare_container(&self, id: &ContainerId, into: &Path) -> Result<()> {
        let layer = self.layer(&self.container_by_id(id)?.layer)?;
        let below = match &layer.parent {
            Some(parent) => self.layer_diff_directory(parent)?,
            None => self.empty_tree()?,
        };
        compare(&self.layout().diff(&layer.id), &below, into)
    }

    /// Adds a staged layer's changes to those of a container that has none.
    ///
    /// # Errors
    /// [`Error::UnknownContainer`], [`Error::Changes`].
    pub fn put_changes(&self, id: &ContainerId, staged: &StagedLayer) -> Result<()> {
        let upper = self.upper_dir(id)?;
        if self.has_whole_trees() {
            return lay_over(staged.diff_dir(), &upper);
        }
        let diff = staged.diff_dir();
        for entry in fs::read_dir(diff).map_err(Error::io("read", diff))? {
            let entry = entry.map_err(Error::io("read", diff))?;
            fs::rename(entry.path(), upper.join(entry.file_name())).map_err(Error::io("rename", &entry.path()))?;
        }
        Ok(())
    }

    /// Completes the trees of staged layers that are not in the store yet.
    pub(crate) fn complete_trees(&self, staged: &[(StagedLayer, NewLayer)]) -> Result<()> {
        let mut made: Vec<(LayerId, PathBuf)> = Vec::new();
        for (layer, new) in staged {
            let id = new.id();
            if self.layer(&id).is_ok() || made.iter().any(|(other, _)| *other == id) {
                continue;
            }
            let below = match &new.parent {
                None => None,
                Some(parent) => Some(match made.iter().find(|(other, _)| other == parent) {
                    Some((_, tree)) => tree.clone(),
                    None => self.layer_diff_directory(parent)?,
                }),
            };
            let tree = layer.tree();
            remove_tree(&tree)?;
            copy_tree(below.as_deref(), &tree)?;
            lay_over(layer.diff_dir(), &tree)?;
            made.push((id, tree));
        }
        for (layer, new) in staged {
            if layer.upper.as_ref().is_some_and(|upper| upper.after == AfterSeal::Continue) {
                let sealed = match made.iter().find(|(id, _)| *id == new.id()) {
                    Some((_, tree)) => tree.clone(),
                    None => self.layer_diff_directory(&new.id())?,
                };
                remove_tree(&layer.fresh())?;
                copy_tree(Some(&sealed), &layer.fresh())?;
            }
        }
        Ok(())
    }

    /// A copy of the layer `below` that a new layer is to begin with; `None` if it begins with nothing.
    pub(crate) fn copy_below(&self, below: Option<&LayerId>) -> Result<Option<TempDir>> {
        if !self.has_whole_trees() {
            return Ok(None);
        }
        let temp = TempDir::new(self.layout())?;
        let below = below.map(|below| self.layer_diff_directory(below)).transpose()?;
        copy_tree(below.as_deref(), &temp.path().join("tree"))?;
        Ok(Some(temp))
    }

    /// Makes at `into` the tree that overlay would show of `lowers`, top first.
    pub(crate) fn flatten(&self, lowers: &[PathBuf], into: &Path) -> Result<()> {
        make_dir(into)?;
        lowers.iter().rev().try_for_each(|lower| lay_over(lower, into))?;
        layer_dir::set_root_attributes(into, lowers.first().map(PathBuf::as_path))
    }

    /// A directory with nothing in it, whose mode is that of a base layer.
    fn empty_tree(&self) -> Result<PathBuf> {
        let path = self.layout().private().join("empty");
        make_dir(&path)?;
        Ok(path)
    }
}

/// Makes `into` a copy of `tree`, its top with the same mode and owner.
fn copy_tree(tree: Option<&Path>, into: &Path) -> Result<()> {
    make_dir(into)?;
    if let Some(tree) = tree {
        changes(into, || ::layers::copy(&Root::open(tree)?, &Root::open(into)?))?;
    }
    layer_dir::set_root_attributes(into, tree)
}

fn lay_over(diff: &Path, tree: &Path) -> Result<()> {
    changes(tree, || ::layers::lay_over(&Root::open(diff)?, &Root::open(tree)?))
}

/// Makes at `into` what makes `below` the same as `tree`.
pub(crate) fn compare(tree: &Path, below: &Path, into: &Path) -> Result<()> {
    make_dir(into)?;
    changes(tree, || ::layers::compare(&Root::open(tree)?, &Root::open(below)?, &Root::open(into)?))
}

fn changes(path: &Path, make: impl FnOnce() -> Result<(), DiffError>) -> Result<()> {
    make().map_err(|source| Error::Changes { path: path.to_owned(), source })
}
