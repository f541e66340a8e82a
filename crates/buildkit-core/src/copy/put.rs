//! Items into the container: directories merge, anything else in the way is replaced.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dockerfile::ignore::Ignore;
use layers::Decompressor;
use rootfs::{Dir, Entry, Event, FileType, Metadata, Next, Owner, Root, Time};
use rustix::io::Errno;

use super::content_digest::ContentHasher;
use super::destination::Destination;
use super::fill::{Fillers, NewFile, finish};
use super::parents::Parents;
use super::source::{Item, Matching, SourceTree};
use super::{CopyError, CopyOptions, Meaning, Tree};

/// Puts one source's items into the container.
pub(super) struct Put<'a, 'scope, 'env> {
    pub root: &'a Root,
    pub target: &'a Destination,
    /// `None` keeps owners.
    pub owner: Option<Owner>,
    /// The owner that was asked for.
    pub given_owner: Option<Owner>,
    pub store: &'a store::Store,
    pub options: &'a CopyOptions<'a>,
    /// What of the tree stays out.
    pub ignore: &'a Ignore,
    pub hasher: &'a mut ContentHasher,
    pub fillers: &'a mut Fillers<'scope, 'env>,
}

/// A directory that is being copied.
struct Walk<'a> {
    /// Its path in the tree, for the ignore file.
    path: &'a Path,
    /// What below it is not included.
    left_out: &'a Ignore,
    /// Directories on the way to where the walk is that are left out themselves, and whether one
    /// was made for something below it.
    pending: Vec<(PathBuf, Metadata, bool)>,
    /// First names of inodes that have several, in the container.
    links: HashMap<(u64, u64), PathBuf>,
    /// The container's directory that the last entry went to.
    last_dir: Option<(PathBuf, Dir)>,
    copied: usize,
}

impl Put<'_, '_, '_> {
    /// Copies an item; returns how many entries were copied, none if all is ignored.
    pub fn item(&mut self, tree: &SourceTree<'_>, item: &Item) -> Result<usize, CopyError> {
        if item.metadata.is_dir() {
            return self.directory(tree, item);
        }
        let name = item.name.as_deref().unwrap_or_default();
        if self.is_ignored(&item.path) || matches_path(&self.options.exclude, Path::new(name)) {
            return Ok(0);
        }
        self.hasher.start("file");
        if item.archive.is_some() {
            self.archive(tree, item)?;
            return Ok(1);
        }
        let (from, real_name) = tree.root.locate(&item.real)?;
        let name = self.target.name.clone().unwrap_or_else(|| name.to_owned());
        let dir = self.root.open_dir(&self.target.dir)?;
        let entry = Entry { path: Path::new(&name), dir: &from, name: &real_name, metadata: item.metadata };
        self.entry(&dir, &name, &entry)?;
        Ok(1)
    }

    /// A file whose content is given.
    pub fn content(&mut self, name: &str, content: &[u8]) -> Result<(), CopyError> {
        self.hasher.start("file");
        let name = self.target.name.clone().unwrap_or_else(|| name.into());
        let mode = self.options.chmod.as_ref().map_or(0o644, |chmod| chmod.apply(0o644, false));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mtime = Time { seconds: i64::try_from(now.as_secs()).unwrap_or_default(), nanoseconds: now.subsec_nanos() };
        let shown = PathBuf::from(&name);
        self.stream(&name, mode, self.owner.unwrap_or(Owner::ROOT), |file, hasher| {
            hasher.update(content);
            file.write_all(content).map_err(|source| CopyError::Write { path: shown, source })?;
            Ok(mtime)
        })
    }

    /// Makes a file of what `fill` writes, with the time that it gives; if that fails, there is none.
    pub fn stream(
        &mut self,
        name: &OsStr,
        mode: u32,
        owner: Owner,
        fill: impl FnOnce(&mut File, &mut ContentHasher) -> Result<Time, CopyError>,
    ) -> Result<(), CopyError> {
        let dir = self.root.open_dir(&self.target.dir)?;
        self.make_way(&dir, name, false)?;
        let mut file = dir.create_file(name, 0o600)?;
        self.hasher.field(name.as_bytes());
        self.hasher.field(format!("file {mode:o} {}:{}", owner.uid, owner.gid).as_bytes());
        let filled = fill(&mut file, self.hasher);
        if filled.is_err() {
            dir.remove_file(name)?;
        }
        let mtime = filled?;
        finish(&file, owner, mode, self.time(mtime))
            .map_err(|source| CopyError::Write { path: self.target.dir.join(name), source })
    }

    /// Removes what is in the way of `name`; gives whether it is a directory that another merges with.
    fn make_way(&self, dir: &Dir, name: &OsStr, is_dir: bool) -> Result<bool, CopyError> {
        let Some(existing) = dir.metadata_if_exists(name)? else { return Ok(false) };
        if is_dir && existing.is_dir() {
            return Ok(true);
        }
        dir.remove_all(name)?;
        Ok(false)
    }

    /// A new file in place of what may be in its way.
    fn create(&self, dir: &Dir, name: &OsStr, mode: u32) -> Result<File, CopyError> {
        // What is set for whom it runs as comes with the owner.
        let mode = mode & 0o777;
        match dir.create_file(name, mode) {
            Err(error) if error.errno() == Errno::EXIST => {
                dir.remove_all(name)?;
                Ok(dir.create_file(name, mode)?)
            }
            other => Ok(other?),
        }
    }

    fn archive(&mut self, tree: &SourceTree<'_>, item: &Item) -> Result<(), CopyError> {
        let file = tree.root.open_file(&item.real)?;
        let read_error = |source| CopyError::Read { path: item.path.clone(), source };
        let decompressor = Decompressor::new(file).map_err(read_error)?;
        // Alone, as nothing that is in the container may lead its entries elsewhere.
        let is_alone = self.options.link || self.options.timestamp.is_some();
        let alone = if is_alone { Some(self.store.temporary_directory()?) } else { None };
        let into = match &alone {
            Some(alone) => Root::open(alone.path())?,
            None => self.root.subroot(&self.target.dir)?,
        };
        let owner = self.given_owner.filter(|_| self.options.meaning == Meaning::BuildKit);
        let unpacked = layers::unpack_as(decompressor, &into, owner);
        let (digest, _) = unpacked.map_err(|source| CopyError::Unpack { path: item.path.clone(), source })?;
        self.hasher.field(digest.hex().as_bytes());
        if let Some(alone) = &alone {
            let unpacked = SourceTree::open(self.store, &Tree::Directory(alone.path().to_owned()))?;
            let nothing = Ignore::default();
            let options = CopyOptions {
                link: self.options.link,
                timestamp: self.options.timestamp,
                meaning: Meaning::BuildKit,
                ..CopyOptions::new(Vec::new(), Tree::Host, "")
            };
            let mut unnoticed = ContentHasher::default();
            let mut put = Put {
                root: self.root,
                target: self.target,
                owner: None,
                given_owner: self.given_owner,
                store: self.store,
                options: &options,
                ignore: &nothing,
                hasher: &mut unnoticed,
                fillers: self.fillers,
            };
            for item in unpacked.find("/", false, Matching::default())? {
                put.item(&unpacked, &item)?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, tree: &SourceTree<'_>, item: &Item) -> Result<usize, CopyError> {
        let is_top = item.path.as_os_str().is_empty();
        let ignored = !is_top && self.is_ignored(&item.path);
        if ignored && !self.ignore.may_include_below(&item.path.to_string_lossy()) {
            return Ok(0);
        }
        self.hasher.start("dir");
        let copied = self.below(tree, item, &Ignore::default())?;
        if self.options.meaning == Meaning::BuildKit && !ignored {
            let mtime = self.time(item.metadata.mtime);
            self.root.set_times(&self.target.dir, mtime, mtime)?;
        }
        Ok(copied + usize::from(!ignored))
    }

    /// Copies what a pattern includes, with the directories on the way.
    pub fn parents(&mut self, tree: &SourceTree<'_>, parents: &Parents) -> Result<(), CopyError> {
        let mut copied = 0;
        for base in &parents.bases {
            self.hasher.start("dir");
            copied += self.below(tree, base, &parents.left_out)?;
        }
        match copied {
            0 if parents.required => Err(CopyError::Missing(parents.text.clone())),
            _ => Ok(()),
        }
    }

    /// Copies all below a directory but what is left out.
    fn below(&mut self, tree: &SourceTree<'_>, item: &Item, left_out: &Ignore) -> Result<usize, CopyError> {
        let from = tree.root.open_dir(&item.real)?;
        let mut walk =
            Walk { path: &item.path, left_out, pending: Vec::new(), links: HashMap::new(), last_dir: None, copied: 0 };
        rootfs::walk_below::<CopyError>(&from, |event| match event {
            Event::Entry(entry) => self.walked(&mut walk, &entry),
            Event::Leave(entry) => {
                let made = match walk.pending.pop_if(|(path, ..)| path == entry.path) {
                    Some((_, _, made)) => made,
                    None => true,
                };
                if made {
                    let (dir, name) = self.root.locate(self.target.dir.join(entry.path))?;
                    let mtime = self.time(entry.metadata.mtime);
                    dir.set_times(name, mtime, mtime)?;
                }
                Ok(Next::Descend)
            }
        })?;
        Ok(walk.copied)
    }

    fn walked(&mut self, walk: &mut Walk<'_>, entry: &Entry<'_>) -> Result<Next, CopyError> {
        if self.leaves_out(walk, entry.path) {
            let below = |ignore: &Ignore, path: &Path| {
                !matches_path(ignore, path) || ignore.may_include_below(&path.to_string_lossy())
            };
            let may_include = entry.metadata.is_dir()
                && below(self.ignore, &walk.path.join(entry.path))
                && below(&self.options.exclude, entry.path)
                && below(walk.left_out, entry.path);
            if !may_include {
                return Ok(Next::Skip);
            }
            walk.pending.push((entry.path.to_owned(), entry.metadata, false));
            return Ok(Next::Descend);
        }
        if entry.metadata.file_type == FileType::Socket {
            return Ok(Next::Skip);
        }
        walk.copied += 1;
        self.make_pending(walk)?;
        let target = self.target.dir.join(entry.path);
        let parent = target.parent().unwrap_or(Path::new(""));
        let dir = match walk.last_dir.take() {
            Some((last, dir)) if last == parent => dir,
            _ => self.root.open_dir(parent)?,
        };
        let several = entry.metadata.nlink > 1 && !entry.metadata.is_dir();
        let key = (entry.metadata.device, entry.metadata.inode);
        match walk.links.get(&key).filter(|_| several) {
            Some(first) => {
                self.hasher.field(entry.path.as_os_str().as_bytes());
                self.hasher.field(b"link");
                let (from, first_name) = self.root.locate(first)?;
                self.make_way(&dir, entry.name, false)?;
                dir.hardlink(&from, first_name, entry.name)?;
            }
            None => {
                self.entry(&dir, entry.name, entry)?;
                if several {
                    walk.links.insert(key, target.clone());
                }
            }
        }
        walk.last_dir = Some((parent.to_owned(), dir));
        Ok(Next::Descend)
    }

    /// Makes the directories above the next entry that are left out themselves, as they are in the
    /// source.
    fn make_pending(&mut self, walk: &mut Walk<'_>) -> Result<(), CopyError> {
        for (path, metadata, made) in walk.pending.iter_mut().filter(|(.., made)| !made) {
            let (dir, name) = self.root.locate(self.target.dir.join(&*path))?;
            let as_source = self.options.meaning == Meaning::BuildKit || self.options.parents;
            let mode = if as_source { metadata.mode } else { 0o755 };
            let mode = self.options.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, true));
            let merges = self.make_way(&dir, &name, true)?;
            if !merges {
                dir.create_dir(&name, 0o700)?;
                dir.set_owner(&name, self.owner.unwrap_or(metadata.owner))?;
            }
            if !merges || as_source {
                dir.set_mode(&name, mode)?;
            }
            *made = true;
        }
        Ok(())
    }

    /// Copies one entry, which is called `name` in `dir`; what is in a directory comes later.
    fn entry(&mut self, dir: &Dir, name: &OsStr, entry: &Entry<'_>) -> Result<(), CopyError> {
        let metadata = &entry.metadata;
        let owner = self.owner.unwrap_or(metadata.owner);
        let kept = if self.options.drop_set_ids { !0o6000 } else { !0 };
        let mode = match &self.options.chmod {
            Some(chmod) if !metadata.is_symlink() => chmod.apply(metadata.mode & kept, metadata.is_dir()),
            _ => metadata.mode & kept,
        };
        let xattrs = carried_xattrs(entry)?;
        self.hasher.field(entry.path.as_os_str().as_bytes());
        self.hasher.field(describe(metadata, mode, owner).as_bytes());
        for (key, value) in &xattrs {
            self.hasher.field(key.as_bytes());
            self.hasher.field(value);
        }
        if metadata.is_file() {
            let from = entry.dir.open_file(entry.name)?;
            let to = self.create(dir, name, mode)?;
            let mtime = self.time(metadata.mtime);
            let file = NewFile { from, to, path: entry.path.to_owned(), metadata: *metadata, owner, mode, mtime };
            if xattrs.is_empty() {
                self.hasher.content(self.fillers.fill(file)?);
            } else {
                self.hasher.field(&file.fill(&mut Vec::new())?);
                set_xattrs(dir, name, &xattrs)?;
            }
            return Ok(());
        }
        let merges = self.make_way(dir, name, metadata.is_dir())?;
        match metadata.file_type {
            FileType::Directory => {
                if !merges {
                    dir.create_dir(name, 0o700)?;
                }
            }
            FileType::Symlink => {
                let text = entry.dir.read_link(entry.name)?;
                self.hasher.field(text.as_bytes());
                dir.symlink(text, name)?;
            }
            other => dir.mknod(name, other, 0, metadata.rdev)?,
        }
        dir.set_owner(name, owner)?;
        if !metadata.is_symlink() {
            dir.set_mode(name, mode)?;
        }
        set_xattrs(dir, name, &xattrs)?;
        let mtime = self.time(metadata.mtime);
        Ok(dir.set_times(name, mtime, mtime)?)
    }

    /// The time of what has `mtime` at its source.
    fn time(&self, mtime: Time) -> Time {
        self.options.timestamp.map_or(mtime, |seconds| Time { seconds, nanoseconds: 0 })
    }

    fn is_ignored(&self, path: &Path) -> bool {
        matches_path(self.ignore, path)
    }

    fn leaves_out(&self, walk: &Walk<'_>, path: &Path) -> bool {
        (!self.ignore.is_empty() && self.is_ignored(&walk.path.join(path)))
            || matches_path(&self.options.exclude, path)
            || matches_path(walk.left_out, path)
    }
}

pub(super) fn matches_path(ignore: &Ignore, path: &Path) -> bool {
    !ignore.is_empty() && ignore.matches(&path.to_string_lossy())
}

/// What the digest covers besides name, attributes and content.
pub(super) fn describe(metadata: &Metadata, mode: u32, owner: Owner) -> String {
    let kind = match metadata.file_type {
        FileType::File => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "symlink",
        FileType::CharDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
    };
    let device = metadata.rdev;
    let size = if metadata.is_file() { metadata.size } else { 0 };
    format!("{kind} {mode:o} {}:{} {size} {}:{}", owner.uid, owner.gid, device.major, device.minor)
}

/// Whether the attribute goes into layers too.
pub(crate) fn is_carried_xattr(key: &OsStr) -> bool {
    let text = key.as_bytes();
    text == b"security.capability"
        || text == b"security.ima"
        || (text.starts_with(b"user.") && !text.starts_with(b"user.overlay."))
}

/// The attributes that go into layers too.
pub(super) fn carried_xattrs(entry: &Entry<'_>) -> Result<Vec<(OsString, Vec<u8>)>, CopyError> {
    let mut xattrs = Vec::new();
    for key in entry.dir.xattr_names(entry.name)? {
        if is_carried_xattr(&key)
            && let Some(value) = entry.dir.xattr(entry.name, &key)?
        {
            xattrs.push((key, value));
        }
    }
    Ok(xattrs)
}

fn set_xattrs(dir: &Dir, name: &OsStr, xattrs: &[(OsString, Vec<u8>)]) -> Result<(), CopyError> {
    for (key, value) in xattrs {
        match dir.set_xattr(name, key, value) {
            Err(error) if error.errno() == Errno::NOTSUP => {}
            other => other?,
        }
    }
    Ok(())
}
