//! New data reaches the disk before a record names it.
//!
//! A few files are synced one by one: a sync of the whole file system would wait for what other
//! programs wrote. Many files are synced by one call.

use std::path::Path;

use rootfs::{Event, Next, Root};

use crate::publish::{NewLayer, StagedLayer};
use crate::{Error, Result, Store};

/// So many entries of a layer are synced one by one.
const FEW: usize = 64;
/// And so many bytes.
const LITTLE: u64 = 16 << 20;

impl Store {
    /// Syncs what is staged.
    pub(crate) fn sync_staged(&self, staged: &[(StagedLayer, NewLayer)]) -> Result<()> {
        let bytes = staged.iter().map(|(_, new)| new.diff_size).sum::<u64>();
        if staged.len() > 4 || bytes > LITTLE {
            return self.sync_all();
        }
        let mut left = FEW;
        for (staged, _) in staged {
            if !sync_tree(staged.diff_dir(), &mut left)? {
                return self.sync_all();
            }
            let tar_split = staged.tar_split();
            let sync = || std::fs::File::open(&tar_split)?.sync_all();
            sync().map_err(Error::io("sync", &tar_split))?;
        }
        Ok(())
    }

    /// Syncs the file system that the layers are on.
    pub(crate) fn sync_all(&self) -> Result<()> {
        let home = self.layout().home();
        std::fs::File::open(&home).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?)).map_err(Error::io("sync", &home))
    }
}

/// Syncs files and directories below `top` and itself. Says no if there are more than `left`.
fn sync_tree(top: &Path, left: &mut usize) -> Result<bool> {
    let failed = |path: &Path| Error::io::<rustix::io::Errno>("sync", &top.join(path));
    let root = Root::open(top)?;
    let mut is_few = true;
    let visit = |event: Event<'_>| -> Result<Next> {
        match event {
            Event::Entry(entry) => {
                is_few = *left > 0;
                *left = left.saturating_sub(1);
                if is_few && entry.metadata.is_file() {
                    rustix::fs::fsync(entry.dir.open_file(entry.name)?).map_err(failed(entry.path))?;
                }
            }
            Event::Leave(entry) if is_few => {
                rustix::fs::fsync(entry.dir.open_dir(entry.name)?).map_err(failed(entry.path))?;
            }
            Event::Leave(_) => {}
        }
        Ok(if is_few { Next::Descend } else { Next::Skip })
    };
    rootfs::walk(&root, visit)?;
    if is_few {
        rustix::fs::fsync(root.top()).map_err(failed(Path::new("")))?;
    }
    Ok(is_few)
}
