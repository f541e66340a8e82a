//! Where the store is and how it mounts, and `storage.conf`, which says so.

use std::path::{Path, PathBuf};

use crate::Result;

/// Where a store is and how it is used.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Persistent data: `/var/lib/containers/storage`.
    pub graph_root: PathBuf,
    /// Data that a reboot may drop, mount counts among them: `/run/containers/storage`. Tools that
    /// share a graph root must share the run root.
    pub run_root: PathBuf,
    /// Graph roots that are read and never written.
    pub additional_image_stores: Vec<PathBuf>,
    /// Extra options of overlay mounts (`nodev`, `metacopy=on`).
    pub mount_options: Vec<String>,
    /// Whether to mount without `volatile` even what is marked so.
    pub disable_volatile: bool,
    /// Whether to leave out the bind mount of the driver's home on itself.
    pub skip_mount_home: bool,
}

impl StoreOptions {
    /// A store at these roots, everything else as the tools have it without configuration.
    pub fn new(graph_root: impl Into<PathBuf>, run_root: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            graph_root: graph_root.into(),
            run_root: run_root.into(),
            additional_image_stores: Vec::new(),
            mount_options: Vec::new(),
            disable_volatile: false,
            skip_mount_home: false,
        }
    }

    /// Takes what `config` sets.
    ///
    /// # Errors
    /// The configuration names another driver than overlay, or a mount program.
    pub fn apply(&mut self, config: &ConfigFile) -> Result<()> {
        todo!("{config:?}")
    }
}

/// What a `storage.conf` says; `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// `driver`
    pub driver: Option<String>,
    /// `graphroot`
    pub graph_root: Option<PathBuf>,
    /// `runroot`
    pub run_root: Option<PathBuf>,
    /// `options.additionalimagestores`
    pub additional_image_stores: Option<Vec<PathBuf>>,
    /// `options.overlay.mountopt`, split at commas
    pub mount_options: Option<Vec<String>>,
    /// `options.overlay.mount_program`
    pub mount_program: Option<String>,
    /// `options.disable-volatile`
    pub disable_volatile: Option<bool>,
    /// `options.overlay.skip_mount_home`
    pub skip_mount_home: Option<bool>,
}

impl ConfigFile {
    /// Reads and parses the file at `path`.
    ///
    /// # Errors
    /// It cannot be read or is no valid TOML.
    pub fn read(path: &Path) -> Result<ConfigFile> {
        todo!("{path:?}")
    }
}
