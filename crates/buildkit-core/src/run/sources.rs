//! What a mount's source is: from a request to what the runtime mounts.
//!
//! A path in a tree that is not trusted is opened inside that tree, once; what is mounted is what
//! was opened.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rootfs::{Owner, Root};
use runtime::{BindSource, Mount, MountKind, User};
use rustix::io::Errno;
use store::{LayerTree, Mounted, Store, TemporaryDirectory};

use super::cache::{self, Cache, CacheOptions, Fill};
use super::{MountRequest, MountRequestKind, MountSource, default_mounts};
use crate::copy::{self, CopyOptions, Prepared, Tree};
use crate::image::Image;

/// A mount's source that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The image or working container is not in the store.
    #[error("mount source {0:?}: no image or working container of that name is in the store")]
    UnknownSource(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The image has no files.
    #[error("mount source {0:?}: the image has no layers")]
    EmptyImage(String),
    /// The tree or the path in it cannot be opened.
    #[error("mount source {0:?}: {1}")]
    Tree(String, rootfs::Error),
    /// The file of the host cannot be opened or given away.
    #[error("mount source {0}: {1}")]
    Host(PathBuf, std::io::Error),
    /// The cache cannot be opened.
    #[error("cache mount at {0}: {1}")]
    Cache(String, std::io::Error),
    /// The path is not absolute.
    #[error("mount source {0}: an absolute path is expected")]
    Relative(PathBuf),
}

/// What has to stay open or mounted while a step runs.
#[derive(Default)]
pub(super) struct Held<'s> {
    store: Option<&'s Store>,
    trees: Vec<LayerTree>,
    containers: Vec<Mounted<'s>>,
    caches: Vec<(String, Cache)>,
    copies: Vec<TemporaryDirectory>,
}

impl<'s> Held<'s> {
    /// Opens the caches of all `requests`, in an order that is the same for every step, so that two
    /// steps cannot wait for each other.
    pub fn open_caches(&mut self, store: &'s Store, requests: &[MountRequest]) -> Result<(), SourceError> {
        self.store = Some(store);
        let mut wanted: Vec<(String, CacheOptions<'_>, &MountRequest)> = Vec::new();
        for request in requests {
            let Some(options) = self.cache_options(request)? else { continue };
            let key = cache::key(&options);
            if !wanted.iter().any(|(other, ..)| *other == key) {
                wanted.push((key, options, request));
            }
        }
        wanted.sort_by(|one, other| one.0.cmp(&other.0));
        if wanted.is_empty() {
            return Ok(());
        }
        let dir = cache::directory(&store.private_directory()?);
        for (key, options, request) in wanted {
            let beginning = self.beginning(&request.kind)?;
            let fill = |new: &Path| beginning.as_ref().map_or(Ok(()), |beginning| beginning.copy_to(store, new));
            let fill: Option<Fill<'_>> = beginning.is_some().then_some(&fill);
            let cache = cache::open(&dir, &options, fill);
            let cache = cache.map_err(|error| SourceError::Cache(request.target.clone(), error))?;
            self.caches.push((key, cache));
        }
        Ok(())
    }

    /// Which cache a request asks for, if it does.
    fn cache_options<'r>(&self, request: &'r MountRequest) -> Result<Option<CacheOptions<'r>>, SourceError> {
        let MountRequestKind::Cache { id, from, content, source, sharing, mode, uid, gid, .. } = &request.kind else {
            return Ok(None);
        };
        let content = match from {
            MountSource::Host => None,
            MountSource::Tree(_) => Some(content.clone().unwrap_or_default()),
            MountSource::Named(name) => Some(self.id_of(name)?),
        };
        Ok(Some(CacheOptions {
            id: id.as_deref().unwrap_or(&request.target),
            content: content.map(|content| format!("{content}\0{}", plain(source))),
            sharing: *sharing,
            mode: *mode,
            uid: *uid,
            gid: *gid,
        }))
    }

    /// What a new cache begins with.
    fn beginning<'r>(&mut self, kind: &'r MountRequestKind) -> Result<Option<Beginning<'r>>, SourceError> {
        let MountRequestKind::Cache { from, source, hidden, .. } = kind else { return Ok(None) };
        let tree = match from {
            MountSource::Host => return Ok(None),
            MountSource::Tree(tree) => tree.clone(),
            MountSource::Named(name) => self.named_tree(name)?,
        };
        Ok(Some(Beginning { tree, source, hidden }))
    }

    /// Turns a request into a mount; `target` is its absolute target.
    pub fn resolve(&mut self, request: &MountRequest, target: PathBuf, user: &User) -> Result<Mount, SourceError> {
        let mut options = request.options.clone();
        let bind = |source, propagation, recursive, discard_writes, options| MountKind::Bind {
            source,
            propagation,
            recursive,
            discard_writes,
            hidden: Vec::new(),
            options,
        };
        let kind = match &request.kind {
            MountRequestKind::Tmpfs { size, mode, copy_up } => {
                MountKind::Tmpfs { size: *size, mode: *mode, copy_up: *copy_up, options: std::mem::take(&mut options) }
            }
            MountRequestKind::File { content, mode, uid, gid } => {
                let owner = Owner { uid: *uid, gid: *gid };
                MountKind::File { content: content.clone(), mode: *mode, owner, options }
            }
            MountRequestKind::Bind { from, source, recursive, propagation, hidden } => MountKind::Bind {
                source: self.open(from, source)?,
                propagation: *propagation,
                recursive: *recursive,
                discard_writes: !request.read_only,
                hidden: hidden.clone(),
                options,
            },
            MountRequestKind::Volume { host_path, discard_writes, give_to_user, propagation, recursive } => {
                if !host_path.is_absolute() {
                    return Err(SourceError::Relative(host_path.clone()));
                }
                if *give_to_user {
                    give_away(host_path, user).map_err(|error| SourceError::Host(host_path.clone(), error))?;
                }
                bind(BindSource::Path(host_path.clone()), *propagation, *recursive, *discard_writes, options)
            }
            MountRequestKind::Copy { host_path } => {
                let store = self.store.ok_or_else(|| SourceError::UnknownSource(host_path.display().to_string()))?;
                let dir = store.temporary_directory()?;
                let copy = dir.path().join("copy");
                default_mounts::copy(host_path, &copy).map_err(|error| SourceError::Host(host_path.clone(), error))?;
                self.copies.push(dir);
                bind(BindSource::Path(copy), Default::default(), false, false, options)
            }
            MountRequestKind::Cache { from, source, .. } => {
                let key = self.cache_options(request)?.map(|options| cache::key(&options)).unwrap_or_default();
                let missing = || SourceError::Cache(request.target.clone(), std::io::ErrorKind::NotFound.into());
                let cache = self.caches.iter().find(|(other, _)| *other == key).ok_or_else(missing)?;
                // What it began with is all that it has.
                let path = if *from == MountSource::Host { source.as_str() } else { "" };
                let source = BindSource::Fd(open_inside(&cache.1.path, path, &request.target)?);
                bind(source, Default::default(), false, false, options)
            }
        };
        Ok(Mount { target, kind, read_only: request.read_only })
    }

    fn open(&mut self, from: &MountSource, source: &str) -> Result<BindSource, SourceError> {
        match from {
            MountSource::Host => {
                let path = PathBuf::from(source);
                if path.is_absolute() { Ok(BindSource::Path(path)) } else { Err(SourceError::Relative(path)) }
            }
            MountSource::Tree(tree) => open_inside(tree, source, source).map(BindSource::Fd),
            MountSource::Named(name) => {
                let tree = self.named_tree(name)?;
                open_inside(&tree, source, name).map(BindSource::Fd)
            }
        }
    }

    /// The ID of an image or working container.
    fn id_of(&self, name: &str) -> Result<String, SourceError> {
        let unknown = || SourceError::UnknownSource(name.into());
        let store = self.store.ok_or_else(unknown)?;
        match Image::find(store, name) {
            Ok(image) => Ok(image.id().to_string()),
            Err(_) => store.container(name).map(|container| container.id.to_string()).map_err(|_| unknown()),
        }
    }

    /// Where the files of an image or working container are, as long as this value lives.
    fn named_tree(&mut self, name: &str) -> Result<PathBuf, SourceError> {
        let unknown = || SourceError::UnknownSource(name.into());
        let store = self.store.ok_or_else(unknown)?;
        match Image::find(store, name) {
            Ok(image) => {
                let top = image.top_layer().ok_or_else(|| SourceError::EmptyImage(name.into()))?;
                let tree = store.open_layer_tree(top)?;
                let path = tree.path();
                self.trees.push(tree);
                Ok(path)
            }
            Err(_) => {
                let container = store.container(name).map_err(|_| unknown())?;
                let mounted = store.mounted(&container.id)?;
                let path = mounted.path().to_owned();
                self.containers.push(mounted);
                Ok(path)
            }
        }
    }
}

/// A path with what changes nothing left out.
fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// What a cache begins with.
struct Beginning<'r> {
    tree: PathBuf,
    source: &'r str,
    hidden: &'r [PathBuf],
}

impl Beginning<'_> {
    /// Copies it to `new`, which becomes like the directory that it is.
    fn copy_to(&self, store: &Store, new: &Path) -> std::io::Result<()> {
        let io = |error: rootfs::Error| std::io::Error::from(error.errno());
        let tree = Root::open(&self.tree).map_err(io)?;
        let real = tree.resolve(self.source).map_err(io)?;
        let metadata = tree.metadata_following(&real).map_err(io)?;
        if !metadata.is_dir() {
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        let everything = vec![copy::Source::Path(".".to_owned())];
        let mut options = CopyOptions::new(everything, Tree::Directory(self.tree.join(real)), "/");
        options.preserve_owner = true;
        let root = Root::open(new).map_err(io)?;
        let copied = Prepared::new(store, &options).and_then(|prepared| prepared.copy_into(&root, "/"));
        copied.map_err(std::io::Error::other)?;
        for path in self.hidden {
            root.remove_all(path).map_err(io)?;
        }
        root.top().set_owner(".", metadata.owner).map_err(io)?;
        root.top().set_mode(".", metadata.mode).map_err(io)
    }
}

/// Opens `path` inside `tree`, symlinks followed inside it.
fn open_inside(tree: &Path, path: &str, name: &str) -> Result<OwnedFd, SourceError> {
    let failed = |error| SourceError::Tree(name.to_owned(), error);
    let root = Root::open(tree).map_err(failed)?;
    match root.open_dir_following(if path.is_empty() { "." } else { path }) {
        Ok(dir) => dir.as_fd().try_clone_to_owned().map_err(|error| SourceError::Host(path.into(), error)),
        Err(error) if error.errno() == Errno::NOTDIR => Ok(root.open_file_following(path).map_err(failed)?.into()),
        Err(error) => Err(failed(error)),
    }
}

/// Gives a directory of the host with all in it to the step's user, as `:U` asks. Symlinks are
/// given themselves, never what they point to.
fn give_away(path: &Path, user: &User) -> std::io::Result<()> {
    let io = |error: rootfs::Error| std::io::Error::from(error.errno());
    let owner = Owner { uid: user.uid, gid: user.gid };
    let real = path.canonicalize()?;
    if !real.is_dir() {
        return std::os::unix::fs::lchown(&real, Some(owner.uid), Some(owner.gid));
    }
    give_dir_away(Root::open(&real).map_err(io)?.top(), owner).map_err(io)
}

fn give_dir_away(dir: &rootfs::Dir, owner: Owner) -> rootfs::Result<()> {
    for name in dir.names()? {
        if dir.metadata(&name)?.is_dir() {
            give_dir_away(&dir.open_dir(&name)?, owner)?;
        } else {
            dir.set_owner(&name, owner)?;
        }
    }
    dir.set_owner(".", owner)
}
