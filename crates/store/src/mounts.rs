//! Mounts: of containers, counted together with the other tools; and of image layers, private to
//! this process.
//!
//! With vfs, a layer's directory is what a mount would show: only the counts are kept.
//!
//! The counts are in `<runroot>/overlay-layers/mountpoints.json`. A count says nothing if its path
//! is not a mount point in this mount namespace: after a reboot, say.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci::{ContainerId, LayerId};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::layer_stack::{Located, MAX_LOWERS, directories};
use crate::lock::{Guard, LockFile};
use crate::overlay::{self, Overlay};
use crate::staging::{TempDir, make_dir};
use crate::table::{Table, read_array, write_atomically};
use crate::{Container, Error, Result, Store};

/// A recorded mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The layer that is mounted.
    pub layer: LayerId,
    /// The container whose layer it is.
    pub container: Option<ContainerId>,
    /// Where.
    pub path: PathBuf,
    /// How many times.
    pub count: u64,
}

/// The files of an image's layers, stacked and read-only, in a mount that is attached nowhere: it
/// goes when this value does.
#[derive(Debug)]
pub struct LayerTree {
    mount: OwnedFd,
    /// The files themselves, where they had to be copied.
    _copy: Option<TempDir>,
}

impl LayerTree {
    /// A path to the tree, which works in this process only and as long as this value lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.mount.as_raw_fd()))
    }

    /// Attaches the tree at `target`; it stays until it is unmounted there, with vfs and several
    /// directories as long as this value lives.
    ///
    /// # Errors
    /// [`Error::Mount`].
    pub fn attach(&self, target: &Path) -> Result<()> {
        let failed = |source| Error::Mount { path: target.to_owned(), source };
        overlay::attach(&self.mount, target).map_err(failed)
    }
}

impl AsFd for LayerTree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// A row of `mountpoints.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    id: LayerId,
    path: PathBuf,
    count: i64,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// The counts, under their lock.
struct Counts {
    path: PathBuf,
    guard: Guard,
    rows: Vec<Row>,
}

impl Counts {
    fn open(store: &Store, write: bool) -> Result<Counts> {
        let dir = store.layout().run_layers_dir();
        make_dir(&dir)?;
        let lock = LockFile::new(dir.join("mountpoints.lock"));
        let guard = if write { lock.write()? } else { lock.read()? };
        let path = dir.join("mountpoints.json");
        let rows = read_array(&path)?.into_iter().filter_map(|row| serde_json::from_value(row).ok()).collect();
        Ok(Counts { path, guard, rows })
    }

    fn get(&self, id: &LayerId) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == *id && row.count > 0)
    }

    fn set(&mut self, id: &LayerId, path: &Path, count: i64) {
        self.rows.retain(|row| row.id != *id);
        if count > 0 {
            self.rows.push(Row { id: id.clone(), path: path.to_owned(), count, unknown: Map::new() });
        }
    }

    fn save(&self) -> Result<()> {
        self.guard.touch()?;
        let bytes = serde_json::to_vec(&self.rows).map_err(|source| Error::Json { path: self.path.clone(), source })?;
        write_atomically(&self.path, &bytes, false)
    }
}

impl Store {
    /// Mounts the container, or counts one more mount of it; gives the path.
    ///
    /// # Errors
    /// [`Error::Mount`], [`Error::TooDeep`], [`Error::MountProgram`].
    pub fn mount(&self, id: &ContainerId) -> Result<PathBuf> {
        self.require_native()?;
        let container = self.container_by_id(id)?;
        // The Go tools make their bind mount under this lock and keep it while mounting.
        let _storage = self.inner.storage_lock.write()?;
        let layers = self.write_layers()?;
        let mut counts = Counts::open(self, true)?;
        let layer = &container.layer;
        let before = counts.get(layer).cloned();
        if let Some(row) = &before
            && self.is_there(&row.path)
        {
            let path = row.path.clone();
            counts.set(layer, &path, row.count + 1);
            counts.save()?;
            return Ok(path);
        }
        let stack = self.stack(&layers, layer)?;
        let path = self.layout().merged(layer);
        if !self.has_whole_trees() {
            self.mount_layer(&stack, &container, &path)?;
        }
        counts.rows.retain(|row| layers.get(row.id.as_str()).is_some());
        counts.set(layer, &path, before.map_or(0, |row| row.count) + 1);
        counts.save()?;
        Ok(path)
    }

    /// Whether what is said to be mounted at `path` really is. A whole tree needs no mount.
    fn is_there(&self, path: &Path) -> bool {
        if self.has_whole_trees() { path.is_dir() } else { overlay::is_mount_point(path) }
    }

    fn mount_layer(&self, stack: &[Located], container: &Container, target: &Path) -> Result<()> {
        let layout = self.layout();
        let home = layout.home();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Mount { path, source }
        };
        if !self.inner.options.skip_mount_home && !overlay::is_mount_point(&home) {
            overlay::bind_on_itself(&home).map_err(failed(&home))?;
        }
        let Some((top, below)) = stack.split_first() else { return Ok(()) };
        let dir = top.dir();
        let work = dir.join("work");
        for dir in [target, &work] {
            make_dir(dir)?;
        }
        // Left by a mount with `volatile`, it refuses the next one.
        crate::staging::remove_tree(&work.join("work").join("incompat").join("volatile"))?;
        let own = crate::layer_dir::diffs(&dir).into_iter().skip(1);
        let mut lowers: Vec<PathBuf> = own.chain(directories(below)?).collect();
        if lowers.is_empty() {
            let empty = dir.join("empty");
            make_dir(&empty)?;
            lowers.push(empty);
        }
        if lowers.len() > MAX_LOWERS {
            return Err(Error::TooDeep { id: top.layer.id.clone(), count: lowers.len() });
        }
        let label = container.flags.get("MountLabel").and_then(Value::as_str).unwrap_or_default();
        let overlay = Overlay {
            lowers,
            upper: Some((dir.join("diff"), work)),
            options: self.inner.options.mount_options.clone(),
            volatile: container.is_volatile() && !self.inner.options.disable_volatile,
            label: label.to_owned(),
        };
        match overlay.create() {
            Ok(mount) => overlay::attach(&mount, target),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                overlay.mount_in(&home, &short_names(&overlay.lowers, &home), target)
            }
            Err(error) => Err(error),
        }
        .map_err(failed(target))
    }

    /// Counts one mount less and unmounts at none; with `force` at once. Says whether the
    /// container is unmounted now. Not mounted is no error.
    pub fn unmount(&self, id: &ContainerId, force: bool) -> Result<bool> {
        let container = self.container_by_id(id)?;
        let storage = self.inner.storage_lock.try_write()?;
        let layers = self.write_layers()?;
        let mut counts = Counts::open(self, true)?;
        let layer = &container.layer;
        if let Some(row) = counts.get(layer).cloned()
            && row.count > 1
            && !force
            && self.is_there(&row.path)
        {
            counts.set(layer, &row.path, row.count - 1);
            counts.save()?;
            return Ok(false);
        }
        self.unmount_layer(layer, &mut counts)?;
        drop(counts);
        drop(layers);
        if storage.is_some() {
            self.release_home()?;
        }
        Ok(true)
    }

    /// Unmounts a layer whose files are about to go. `layers.lock` is held for writing.
    pub(crate) fn unmount_for_removal(&self, layer: &LayerId) -> Result<()> {
        let mut counts = Counts::open(self, true)?;
        if counts.get(layer).is_some() || overlay::is_mount_point(&self.layout().merged(layer)) {
            self.unmount_layer(layer, &mut counts)?;
        }
        Ok(())
    }

    fn unmount_layer(&self, layer: &LayerId, counts: &mut Counts) -> Result<()> {
        let target = self.layout().merged(layer);
        if self.has_whole_trees() {
            if counts.rows.iter().any(|row| row.id == *layer) {
                counts.set(layer, &target, 0);
                counts.save()?;
            }
            return Ok(());
        }
        // Mounts may be stacked: another namespace's count was lost, say.
        while overlay::is_mount_point(&target) {
            overlay::detach(&target).map_err(|source| Error::Mount { path: target.clone(), source })?;
        }
        if target.is_dir() {
            // A fresh directory in its place, so that nothing mounted on the old one elsewhere
            // shows up.
            let fresh = target.with_file_name("merged.1");
            let _ = DirBuilder::new().mode(0o700).create(&fresh);
            let _ = fs::rename(&fresh, &target);
        }
        if counts.rows.iter().any(|row| row.id == *layer) {
            counts.set(layer, &target, 0);
            counts.save()?;
        }
        Ok(())
    }

    /// Takes the bind mount of the driver's home away when nothing is mounted in it, as the Go
    /// tools do. `storage.lock` is held.
    pub(crate) fn release_home(&self) -> Result<()> {
        let home = self.layout().home();
        if self.inner.options.skip_mount_home || !overlay::is_mount_point(&home) {
            return Ok(());
        }
        let is_own_file_system = match (fs::metadata(&home), fs::metadata(&self.layout().graph_root)) {
            (Ok(home), Ok(root)) => home.dev() != root.dev(),
            _ => true,
        };
        if !is_own_file_system && Counts::open(self, false)?.rows.iter().all(|row| row.count <= 0) {
            overlay::detach_if_unused(&home);
        }
        Ok(())
    }

    /// Every mount that is recorded and really there.
    pub fn mounts(&self) -> Result<Vec<MountPoint>> {
        let layers = self.read_layers()?;
        let rows = Counts::open(self, false)?.rows;
        drop(layers);
        let containers = self.inner.containers.read()?.table;
        let of_layer = |table: &Table<Container>, layer: &LayerId| {
            table.iter().find(|container| container.layer == *layer).map(|container| container.id.clone())
        };
        Ok(rows
            .into_iter()
            .filter(|row| row.count > 0 && self.is_there(&row.path))
            .map(|row| MountPoint {
                container: of_layer(&containers, &row.id),
                layer: row.id,
                path: row.path,
                count: row.count.unsigned_abs(),
            })
            .collect())
    }

    /// The stacked files of `top` and all below it.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], [`Error::TooDeep`], [`Error::Mount`].
    pub fn open_layer_tree(&self, top: &LayerId) -> Result<LayerTree> {
        self.require_native()?;
        // Held until it is mounted: then nobody can take the files away.
        let layers = self.read_layers()?;
        let stack: Vec<Located> = self.stack(&layers.table, top)?;
        self.open_tree(&directories(&stack)?)
    }

    /// The files of the directories `lowers`, top first, stacked; with none, an empty directory.
    ///
    /// # Errors
    /// [`Error::Mount`], [`Error::TooManyLayers`] with more of them than the kernel stacks.
    pub fn open_tree(&self, lowers: &[PathBuf]) -> Result<LayerTree> {
        if lowers.len() > MAX_LOWERS {
            return Err(Error::TooManyLayers { count: lowers.len() });
        }
        if self.has_whole_trees() {
            return self.whole_tree(lowers);
        }
        let mut lowers = lowers.to_vec();
        // The kernel wants something to stack.
        while lowers.len() < 2 {
            let empty = self.layout().private().join(["empty", "empty-too"][lowers.len().min(1)]);
            make_dir(&empty)?;
            lowers.push(empty);
        }
        let target = lowers.first().cloned().unwrap_or_default();
        let failed = |source| Error::Mount { path: target.clone(), source };
        let overlay = Overlay { lowers, options: self.inner.options.mount_options.clone(), ..Overlay::default() };
        match overlay.create() {
            Ok(mount) => Ok(LayerTree { mount, _copy: None }),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                self.tree_by_mount(&overlay).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A layer that has everything, or a copy of several directories laid over each other.
    fn whole_tree(&self, lowers: &[PathBuf]) -> Result<LayerTree> {
        let (path, copy) = match lowers {
            [tree] => (tree.clone(), None),
            _ => {
                let temp = TempDir::new(self.layout())?;
                let path = temp.path().join("tree");
                self.flatten(lowers, &path)?;
                (path, Some(temp))
            }
        };
        let mount = open_tree(CWD, &path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
            .map_err(|errno| Error::Mount { path, source: errno.into() })?;
        Ok(LayerTree { mount, _copy: copy })
    }

    /// For kernels that make overlay mounts only at a path: mounted there, cloned, unmounted.
    fn tree_by_mount(&self, overlay: &Overlay) -> std::io::Result<LayerTree> {
        let home = self.layout().home();
        let place = self.run_root().join("gabion-tree").join(crate::random::suffix().map_err(std::io::Error::other)?);
        make_dir(&place).map_err(std::io::Error::other)?;
        overlay.mount_in(&home, &short_names(&overlay.lowers, &home), &place)?;
        let mount = open_tree(CWD, &place, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
        overlay::detach(&place)?;
        fs::remove_dir(&place)?;
        Ok(LayerTree { mount: mount?, _copy: None })
    }
}

/// What to call `lowers` in one option string: by the short link where a layer has one.
pub(crate) fn short_names(lowers: &[PathBuf], home: &Path) -> Vec<String> {
    let short = |lower: &PathBuf| {
        let inside = lower.starts_with(home) && lower.ends_with("diff");
        let link = lower.parent().filter(|_| inside).and_then(|dir| fs::read_to_string(dir.join("link")).ok());
        match link {
            Some(link) => format!("l/{}", link.trim()),
            None => lower.to_string_lossy().into_owned(),
        }
    };
    lowers.iter().map(short).collect()
}
