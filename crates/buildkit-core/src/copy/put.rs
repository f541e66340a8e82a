//! Items into the container: directories merge, anything else in the way is replaced.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use layers::Decompressor;
use rootfs::{Dir, Entry, Event, FileType, Metadata, Next, Owner, Root, Time};
use rustix::io::Errno;

use super::content_digest::ContentHasher;
use super::source::{Item, SourceTree};
use super::{CopyError, CopyOptions};

/// Bytes copied at once.
const BUFFER: usize = 256 * 1024;

/// Where things go: into a directory, under a name of their own or this one.
pub(super) struct Destination {
    /// Relative to the container's root, without symlinks.
    pub dir: PathBuf,
    /// Set if a single file gets a new name.
    pub name: Option<OsString>,
}

/// Puts one source's items into the container.
pub(super) struct Put<'a> {
    pub root: &'a Root,
    pub target: &'a Destination,
    /// `None` keeps owners.
    pub owner: Option<Owner>,
    pub options: &'a CopyOptions<'a>,
    pub hasher: &'a mut ContentHasher,
}

/// A directory that is being copied.
struct Walk<'a> {
    /// Its path in the tree, for the ignore file.
    path: &'a Path,
    /// First names of inodes that have several, in the container.
    links: HashMap<(u64, u64), PathBuf>,
    /// The container's directory that the last entry went to.
    last_dir: Option<(PathBuf, Dir)>,
    copied: usize,
}

impl Put<'_> {
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
        self.stream(&name, mode, self.owner.unwrap_or(Owner::ROOT), mtime, |file, hasher| {
            hasher.update(content);
            file.write_all(content).map_err(|source| CopyError::Write { path: shown, source })
        })
    }

    /// Makes a file of what `fill` writes; if that fails, there is none.
    pub fn stream(
        &mut self,
        name: &OsStr,
        mode: u32,
        owner: Owner,
        mtime: Time,
        fill: impl FnOnce(&mut File, &mut ContentHasher) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let dir = self.root.open_dir(&self.target.dir)?;
        dir.remove_all(name)?;
        let mut file = dir.create_file(name, 0o600)?;
        self.hasher.field(name.as_bytes());
        self.hasher.field(format!("file {mode:o} {}:{}", owner.uid, owner.gid).as_bytes());
        let filled = fill(&mut file, self.hasher);
        if filled.is_err() {
            dir.remove_file(name)?;
        }
        filled?;
        finish_file(&file, owner, mode)
            .and_then(|()| set_file_time(&file, mtime))
            .map_err(|source| CopyError::Write { path: self.target.dir.join(name), source })
    }

    fn archive(&mut self, tree: &SourceTree<'_>, item: &Item) -> Result<(), CopyError> {
        let file = tree.root.open_file(&item.real)?;
        let read_error = |source| CopyError::Read { path: item.path.clone(), source };
        let decompressor = Decompressor::new(file).map_err(read_error)?;
        let into = self.root.subroot(&self.target.dir)?;
        let unpacked = layers::unpack(decompressor, &into);
        let (digest, _) = unpacked.map_err(|source| CopyError::Unpack { path: item.path.clone(), source })?;
        self.hasher.field(digest.hex().as_bytes());
        Ok(())
    }

    fn directory(&mut self, tree: &SourceTree<'_>, item: &Item) -> Result<usize, CopyError> {
        let is_top = item.path.as_os_str().is_empty();
        let ignored = !is_top && self.is_ignored(&item.path);
        if ignored && !self.options.ignore.may_include_below(&item.path.to_string_lossy()) {
            return Ok(0);
        }
        self.hasher.start("dir");
        let from = tree.root.open_dir(&item.real)?;
        let mut walk = Walk { path: &item.path, links: HashMap::new(), last_dir: None, copied: usize::from(!ignored) };
        rootfs::walk_below::<CopyError>(&from, |event| match event {
            Event::Entry(entry) => self.walked(&mut walk, &entry),
            Event::Leave(entry) => {
                if !self.leaves_out(&walk, entry.path) {
                    let (dir, name) = self.root.locate(self.target.dir.join(entry.path))?;
                    dir.set_times(name, entry.metadata.mtime, entry.metadata.mtime)?;
                }
                Ok(Next::Descend)
            }
        })?;
        Ok(walk.copied)
    }

    fn walked(&mut self, walk: &mut Walk<'_>, entry: &Entry<'_>) -> Result<Next, CopyError> {
        if self.leaves_out(walk, entry.path) {
            let below = |ignore: &dockerfile::ignore::Ignore, path: &Path| {
                !matches_path(ignore, path) || ignore.may_include_below(&path.to_string_lossy())
            };
            let may_include = entry.metadata.is_dir()
                && below(&self.options.ignore, &walk.path.join(entry.path))
                && below(&self.options.exclude, entry.path);
            return Ok(if may_include { Next::Descend } else { Next::Skip });
        }
        if entry.metadata.file_type == FileType::Socket {
            return Ok(Next::Skip);
        }
        walk.copied += 1;
        let target = self.target.dir.join(entry.path);
        let parent = target.parent().unwrap_or(Path::new(""));
        let dir = match walk.last_dir.take() {
            Some((last, dir)) if last == parent => dir,
            _ => match self.root.open_dir(parent) {
                // A directory that is left out itself, but not all that is in it.
                Err(error) if error.errno() == Errno::NOENT => {
                    self.root.create_dir_all(parent, 0o755, self.owner.unwrap_or(Owner::ROOT))?;
                    self.root.open_dir(parent)?
                }
                other => other?,
            },
        };
        let several = entry.metadata.nlink > 1 && !entry.metadata.is_dir();
        let key = (entry.metadata.device, entry.metadata.inode);
        match walk.links.get(&key).filter(|_| several) {
            Some(first) => {
                self.hasher.field(entry.path.as_os_str().as_bytes());
                self.hasher.field(b"link");
                let (from, first_name) = self.root.locate(first)?;
                dir.remove_all(entry.name)?;
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

    /// Copies one entry, which is called `name` in `dir`; what is in a directory comes later.
    fn entry(&mut self, dir: &Dir, name: &OsStr, entry: &Entry<'_>) -> Result<(), CopyError> {
        let metadata = &entry.metadata;
        let owner = self.owner.unwrap_or(metadata.owner);
        let mode = match &self.options.chmod {
            Some(chmod) if !metadata.is_symlink() => chmod.apply(metadata.mode, metadata.is_dir()),
            _ => metadata.mode,
        };
        let xattrs = carried_xattrs(entry)?;
        self.hasher.field(entry.path.as_os_str().as_bytes());
        self.hasher.field(describe(metadata, mode, owner).as_bytes());
        for (key, value) in &xattrs {
            self.hasher.field(key.as_bytes());
            self.hasher.field(value);
        }
        let existing = dir.metadata_if_exists(name)?;
        let merges = metadata.is_dir() && existing.is_some_and(|existing| existing.is_dir());
        if existing.is_some() && !merges {
            dir.remove_all(name)?;
        }
        match metadata.file_type {
            FileType::File => {
                let from = entry.dir.open_file(entry.name)?;
                let to = dir.create_file(name, 0o600)?;
                self.data(&from, &to, entry)?;
                let error = |source| CopyError::Write { path: dir.path().join(name), source };
                finish_file(&to, owner, mode).map_err(error)?;
                set_xattrs(dir, name, &xattrs)?;
                return set_file_time(&to, metadata.mtime).map_err(error);
            }
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
        Ok(dir.set_times(name, metadata.mtime, metadata.mtime)?)
    }

    /// Copies and hashes a file's bytes; holes stay holes.
    fn data(&mut self, from: &File, to: &File, entry: &Entry<'_>) -> Result<(), CopyError> {
        let size = entry.metadata.size;
        let read_error = |source| CopyError::Read { path: entry.path.to_owned(), source };
        let write_error = |source| CopyError::Write { path: entry.path.to_owned(), source };
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(BUFFER).clamp(1, BUFFER)];
        let mut at = 0;
        while at < size {
            let stretch = if entry.metadata.may_have_holes() {
                rootfs::next_data(from, at, size).map_err(read_error)?
            } else {
                Some((at, size))
            };
            let (start, end) = stretch.unwrap_or((size, size));
            self.zeros(start - at);
            at = start;
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(BUFFER).min(buffer.len());
                let part = buffer.get_mut(..want).unwrap_or_default();
                let read = match from.read_at(part, at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(0) => return Err(read_error(io::ErrorKind::UnexpectedEof.into())),
                    other => other.map_err(read_error)?,
                };
                let part = part.get(..read).unwrap_or_default();
                self.hasher.update(part);
                to.write_all_at(part, at).map_err(write_error)?;
                at += read as u64;
            }
        }
        if entry.metadata.may_have_holes() { to.set_len(size).map_err(write_error) } else { Ok(()) }
    }

    fn zeros(&mut self, mut count: u64) {
        let zeros = [0; 4096];
        while count > 0 {
            let part = count.min(zeros.len() as u64);
            self.hasher.update(zeros.get(..part as usize).unwrap_or_default());
            count -= part;
        }
    }

    fn is_ignored(&self, path: &Path) -> bool {
        matches_path(&self.options.ignore, path)
    }

    fn leaves_out(&self, walk: &Walk<'_>, path: &Path) -> bool {
        let ignore = &self.options.ignore;
        (!ignore.is_empty() && self.is_ignored(&walk.path.join(path))) || matches_path(&self.options.exclude, path)
    }
}

fn matches_path(ignore: &dockerfile::ignore::Ignore, path: &Path) -> bool {
    !ignore.is_empty() && ignore.matches(&path.to_string_lossy())
}

/// What the digest covers besides name, attributes and content.
fn describe(metadata: &Metadata, mode: u32, owner: Owner) -> String {
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

/// The attributes that go into layers too.
fn carried_xattrs(entry: &Entry<'_>) -> Result<Vec<(OsString, Vec<u8>)>, CopyError> {
    let mut xattrs = Vec::new();
    for key in entry.dir.xattr_names(entry.name)? {
        let text = key.as_bytes();
        let carried = text == b"security.capability"
            || text == b"security.ima"
            || (text.starts_with(b"user.") && !text.starts_with(b"user.overlay."));
        if carried && let Some(value) = entry.dir.xattr(entry.name, &key)? {
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

/// Owner first: a change of owner takes setuid bits away.
fn finish_file(file: &File, owner: Owner, mode: u32) -> io::Result<()> {
    std::os::unix::fs::fchown(file, Some(owner.uid), Some(owner.gid))?;
    file.set_permissions(Permissions::from_mode(mode))
}

fn set_file_time(file: &File, mtime: Time) -> io::Result<()> {
    let whole = Duration::from_secs(mtime.seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let second = if mtime.seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
    let exact = second.and_then(|second| second.checked_add(Duration::from_nanos(u64::from(mtime.nanoseconds))));
    let time = exact.unwrap_or(epoch);
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time))
}
