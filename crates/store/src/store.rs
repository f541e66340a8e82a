//! Opening a store: its directories, its tables, and what crashed processes left.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::claims::Claims;
use crate::driver::Driver;
use crate::layout::Layout;
use crate::lock::LockFile;
use crate::staging::{self, make_dir};
use crate::table::Db;
use crate::{Container, Error, Image, Layer, Result, StoreOptions};

/// An open store. Clones are cheap and share what was read; all methods may be called from
/// several threads.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub options: StoreOptions,
    pub layout: Layout,
    pub storage_lock: LockFile,
    pub layers: Db<Layer>,
    pub images: Db<Image>,
    pub containers: Db<Container>,
    pub read_only: Vec<ReadOnlyStore>,
    pub claims: Claims,
}

/// An additional image store.
#[derive(Debug)]
pub(crate) struct ReadOnlyStore {
    pub layout: Layout,
    pub layers: Db<Layer>,
    pub images: Db<Image>,
}

/// Free space for removals on a full disk: two tables of thousands of records fit in.
const RESERVE: u64 = 1 << 20;

impl Store {
    /// Opens the store, making the directories that are missing, and removes what killed
    /// processes left.
    ///
    /// # Errors
    /// A directory cannot be made, or the store was made with a storage driver that is not supported.
    pub fn open(options: StoreOptions) -> Result<Store> {
        make_dir(&options.graph_root)?;
        make_dir(&options.run_root)?;
        let graph_root = fs::canonicalize(&options.graph_root).map_err(Error::io("open", &options.graph_root))?;
        let driver = match options.driver {
            Some(driver) => driver,
            None => driver_of(&graph_root)?,
        };
        let run_root = fs::canonicalize(&options.run_root).map_err(Error::io("open", &options.run_root))?;
        let layout = Layout { driver, graph_root, run_root };
        for dir in [
            layout.home(),
            layout.layer_dirs(),
            layout.layers_dir(),
            layout.images_dir(),
            layout.containers_dir(),
            layout.run_layers_dir(),
            layout.run_containers_dir(),
            layout.journal(),
        ] {
            make_dir(&dir)?;
        }
        let storage_lock = LockFile::new(layout.storage_lock());
        if driver == Driver::Overlay {
            prepare_home(&layout, &storage_lock)?;
        }
        let private = layout.private();
        keep_reserve(&private.join("reserve"));

        let read_only = options.additional_image_stores.iter().map(|root| read_only_store(driver, root)).collect();
        let layers_dir = layout.layers_dir();
        let images_dir = layout.images_dir();
        let containers_dir = layout.containers_dir();
        let store = Store {
            inner: Arc::new(Inner {
                storage_lock,
                layers: Db::new(
                    LockFile::new(layers_dir.join("layers.lock")),
                    layers_dir.join("layers.json"),
                    Some(layers_dir.join("volatile-layers.json")),
                    &private,
                ),
                images: Db::new(
                    LockFile::new(images_dir.join("images.lock")),
                    images_dir.join("images.json"),
                    None,
                    &private,
                ),
                containers: Db::new(
                    LockFile::new(containers_dir.join("containers.lock")),
                    containers_dir.join("containers.json"),
                    Some(containers_dir.join("volatile-containers.json")),
                    &private,
                ),
                read_only,
                claims: Claims::default(),
                options,
                layout,
            }),
        };
        // What resists (a full disk, say) must not keep anybody from using the rest; the next store
        // opened tries again.
        let _ = staging::remove_stale(store.layout());
        let _ = store.recover();
        Ok(store)
    }

    /// The store's root for persistent data.
    pub fn graph_root(&self) -> &Path {
        &self.inner.layout.graph_root
    }

    /// The store's root for data that a reboot may drop.
    pub fn run_root(&self) -> &Path {
        &self.inner.layout.run_root
    }

    /// How it keeps its layers.
    pub fn driver(&self) -> Driver {
        self.inner.layout.driver
    }

    /// How the store was opened.
    pub fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    /// A directory that is gabion's alone (`<graphroot>/gabion`, mode 0700); the other tools leave
    /// it as it is. Made if missing.
    pub fn private_directory(&self) -> Result<PathBuf> {
        let path = self.layout().private();
        make_dir(&path)?;
        Ok(path)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// # Errors
    /// The store was filled through a mount program: whiteouts in it have another form, and the
    /// kernel must not mount it.
    pub(crate) fn require_native(&self) -> Result<()> {
        if self.driver() == Driver::Vfs {
            return Ok(());
        }
        match fs::read(self.layout().mount_program_mark()) {
            Ok(content) if content.trim_ascii() == b"true" => Err(Error::MountProgram(self.graph_root().to_owned())),
            _ => Ok(()),
        }
    }
}

fn read_only_store(driver: Driver, root: &Path) -> ReadOnlyStore {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let layout = Layout { driver, run_root: root.clone(), graph_root: root };
    let layers_dir = layout.layers_dir();
    let images_dir = layout.images_dir();
    ReadOnlyStore {
        layers: Db::read_only(
            layers_dir.join("layers.lock"),
            layers_dir.join("layers.json"),
            Some(layers_dir.join("volatile-layers.json")),
        ),
        images: Db::read_only(images_dir.join("images.lock"), images_dir.join("images.json"), None),
        layout,
    }
}

/// The driver of the store at `graph_root`, which keeps its records in, say, `vfs-images`. Overlay goes
/// before others, as nobody names it.
fn driver_of(graph_root: &Path) -> Result<Driver> {
    let mut other = None;
    for entry in fs::read_dir(graph_root).map_err(Error::io("read", graph_root))? {
        let name = entry.map_err(Error::io("read", graph_root))?.file_name();
        match name.to_str().and_then(|name| name.strip_suffix("-images")) {
            Some("overlay") => return Ok(Driver::Overlay),
            Some(driver) => other = Some(driver.to_owned()),
            None => {}
        }
    }
    other.map_or(Ok(Driver::Overlay), |driver| Driver::parse(&driver))
}

fn prepare_home(layout: &Layout, storage_lock: &LockFile) -> Result<()> {
    let links = layout.links();
    let mark = layout.mount_program_mark();
    if links.is_dir() && mark.exists() {
        return Ok(());
    }
    let _guard = storage_lock.write()?;
    make_dir(&links)?;
    fs::set_permissions(&links, fs::Permissions::from_mode(0o755)).map_err(Error::io("change", &links))?;
    let empty = fs::read_dir(&links).map_err(Error::io("read", &links))?.next().is_none();
    if empty && !mark.exists() {
        crate::table::write_atomically(&mark, b"false", false)?;
    }
    Ok(())
}

/// Best effort: without the reserve a full disk may refuse removals, nothing worse.
fn keep_reserve(path: &Path) {
    let make = || -> io::Result<()> {
        let file = File::create_new(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE)?;
        Ok(())
    };
    if !path.exists() && make().is_err() {
        let _ = fs::remove_file(path);
    }
}
