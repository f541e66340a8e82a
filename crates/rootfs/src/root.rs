//! Paths resolved beneath a root: the one way gabion opens a path in a tree it does not trust.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::{Context, Error, Result};
use crate::metadata::{Device, FileType, Metadata, Owner, Time};

/// As many symlinks as the kernel follows in one path.
const MAX_LINKS: usize = 40;
/// The kernel takes paths shorter than this in one call (`PATH_MAX`).
const MAX_PATH: usize = 4095;
/// A rename anywhere may make `openat2` with a scope give up; trying again is what it asks for.
const MAX_TRIES: usize = 1000;

/// A directory as `/`: no path given to it leads out. Absolute and relative paths mean the same.
#[derive(Debug)]
pub struct Root {
    top: Dir,
    host_path: PathBuf,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }
}

impl Root {
    /// Opens a directory of the host by a path that *is* trusted: symlinks in it are followed.
    pub fn open(dir: impl AsRef<Path>) -> Result<Root> {
        let dir = dir.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).doing("open directory", dir)?;
        Ok(Root { top: Dir::from_fd(fd, ""), host_path: dir.to_owned() })
    }

    /// Takes a directory descriptor; `host_path` is for messages.
    pub fn from_fd(fd: OwnedFd, host_path: impl Into<PathBuf>) -> Root {
        Root { top: Dir::from_fd(fd, ""), host_path: host_path.into() }
    }

    /// Where it was opened on the host; for messages, never to be joined with a path from inside.
    pub fn host_path(&self) -> &Path {
        &self.host_path
    }

    /// The top as an open directory.
    pub fn top(&self) -> &Dir {
        &self.top
    }

    /// A second handle.
    pub fn try_clone(&self) -> Result<Root> {
        Ok(Root { top: self.top.try_clone()?, host_path: self.host_path.clone() })
    }

    /// A root that is a directory of this one. The last component is followed.
    pub fn subroot(&self, path: impl AsRef<Path>) -> Result<Root> {
        let path = path.as_ref();
        let fd = self.openat2(path, OFlags::RDONLY | OFlags::DIRECTORY, "open directory")?;
        Ok(Root { top: Dir::from_fd(fd, ""), host_path: self.host_path.join(relative(path)) })
    }

    /// The open parent directory of a path (symlinks on the way followed inside the root) and the
    /// last component; `.` for the root itself and for a path that ends in `..`.
    pub fn locate(&self, path: impl AsRef<Path>) -> Result<(Dir, OsString)> {
        let path = relative(path.as_ref());
        match path.components().next_back() {
            Some(Component::Normal(name)) => {
                let parent = path.parent().unwrap_or(Path::new(""));
                if parent.as_os_str().is_empty() {
                    return Ok((self.top.try_clone()?, name.to_owned()));
                }
                let fd = self.openat2(parent, OFlags::PATH | OFlags::DIRECTORY, "open directory")?;
                Ok((Dir::from_fd(fd, parent), name.to_owned()))
            }
            _ => {
                let fd = self.openat2(path, OFlags::PATH | OFlags::DIRECTORY, "open directory")?;
                Ok((Dir::from_fd(fd, path), OsString::from(".")))
            }
        }
    }

    /// Opens a directory; the last component must not be a symlink.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let (dir, name) = self.locate(path)?;
        dir.open_dir(name)
    }

    /// Opens a directory; symlinks are followed inside the root.
    pub fn open_dir_following(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let path = path.as_ref();
        let fd = self.openat2(path, OFlags::RDONLY | OFlags::DIRECTORY, "open directory")?;
        Ok(Dir::from_fd(fd, relative(path)))
    }

    /// Opens a regular file for reading; the last component must not be a symlink, and devices and
    /// FIFOs are refused without being touched.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        let (dir, name) = self.locate(path)?;
        dir.open_file(name)
    }

    /// Opens a regular file for reading; symlinks are followed inside the root.
    pub fn open_file_following(&self, path: impl AsRef<Path>) -> Result<File> {
        self.open_file(self.resolve(path)?)
    }

    /// Creates a new file open for writing; fails if the name exists, even as a symlink.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32, owner: Owner) -> Result<File> {
        let (dir, name) = self.locate(path)?;
        let file = dir.create_file(&name, mode)?;
        dir.set_owner(&name, owner)?;
        if mode & 0o6000 != 0 {
            dir.set_mode(&name, mode)?;
        }
        Ok(file)
    }

    /// Creates one directory; fails if the name exists.
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32, owner: Owner) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        create_owned_dir(&dir, &name, mode, owner)
    }

    /// Makes sure that a directory exists, with all above it. What is created gets `mode` and
    /// `owner`; what exists is left alone. Symlinks are followed inside the root, dangling ones
    /// too: what they point to is created.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32, owner: Owner) -> Result<()> {
        let path = path.as_ref();
        if self.openat2(path, OFlags::PATH | OFlags::DIRECTORY, "open directory").is_ok() {
            return Ok(());
        }
        let resolved = self.resolve(path)?;
        let mut dir = self.top.try_clone()?;
        for component in resolved.components() {
            let name = component.as_os_str();
            dir = match dir.open_dir(name) {
                Err(error) if error.errno() == Errno::NOENT => {
                    match create_owned_dir(&dir, name, mode, owner) {
                        Err(error) if error.errno() == Errno::EXIST => {}
                        other => other?,
                    }
                    dir.open_dir(name)?
                }
                other => other?,
            };
        }
        Ok(())
    }

    /// Creates a symlink with exactly this text, wherever it points.
    pub fn symlink(&self, target: impl AsRef<OsStr>, path: impl AsRef<Path>) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        dir.symlink(target, name)
    }

    /// The text of a symlink.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<OsString> {
        let (dir, name) = self.locate(path)?;
        dir.read_link(name)
    }

    /// Gives `existing` a further name; a symlink is linked itself, not what it points to.
    pub fn hardlink(&self, existing: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let (from, existing) = self.locate(existing)?;
        let (dir, name) = self.locate(path)?;
        dir.hardlink(&from, existing, name)
    }

    /// Creates a device, FIFO or socket.
    pub fn mknod(&self, path: impl AsRef<Path>, file_type: FileType, mode: u32, device: Device) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        dir.mknod(name, file_type, mode, device)
    }

    /// Renames within the root, replacing what the new name was.
    pub fn rename(&self, path: impl AsRef<Path>, new_path: impl AsRef<Path>) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        let (to, new_name) = self.locate(new_path)?;
        dir.rename(name, &to, new_name)
    }

    /// Removes whatever is there, with all below it. That it does not exist is no error.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> Result<()> {
        match self.locate(path) {
            Ok((dir, name)) => dir.remove_all(name),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the path is; a symlink as the last component is not followed.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let (dir, name) = self.locate(path)?;
        dir.metadata(name)
    }

    /// Like [`Root::metadata`], `None` if there is nothing.
    pub fn metadata_if_exists(&self, path: impl AsRef<Path>) -> Result<Option<Metadata>> {
        match self.metadata(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the path is, symlinks followed inside the root.
    pub fn metadata_following(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let path = path.as_ref();
        let fd = self.openat2(path, OFlags::PATH, "stat")?;
        Ok(Metadata::from_stat(&rustix::fs::fstat(&fd).doing("stat", path)?))
    }

    /// Sets user and group of what the path is itself.
    pub fn set_owner(&self, path: impl AsRef<Path>, owner: Owner) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        dir.set_owner(name, owner)
    }

    /// Sets the permission bits; a symlink is refused.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        dir.set_mode(name, mode)
    }

    /// Sets access and modification time of what the path is itself, to the nanosecond.
    pub fn set_times(&self, path: impl AsRef<Path>, atime: Time, mtime: Time) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        dir.set_times(name, atime, mtime)
    }

    /// Extended attributes and their values, sorted by name.
    pub fn xattrs(&self, path: impl AsRef<Path>) -> Result<Vec<(OsString, Vec<u8>)>> {
        let (dir, name) = self.locate(path)?;
        dir.xattrs(name)
    }

    /// One extended attribute; `None` if it is not set or not supported.
    pub fn xattr(&self, path: impl AsRef<Path>, key: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>> {
        let (dir, name) = self.locate(path)?;
        dir.xattr(name, key)
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, path: impl AsRef<Path>, key: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
        let (dir, name) = self.locate(path)?;
        dir.set_xattr(name, key, value)
    }

    /// The path without symlinks, relative to the root: each is followed inside the root. What
    /// does not exist is kept as text, with `..` taken back. At most 40 symlinks are followed.
    ///
    /// The answer is true at this moment only; opening it again goes through the root, so a tree
    /// that changes meanwhile can make it wrong but not lead out.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        let mut todo: VecDeque<OsString> = components(path.as_os_str());
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            let is_link = match self.metadata(&next) {
                Ok(metadata) => metadata.is_symlink(),
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(error),
            };
            if !is_link {
                done = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::new("follow symlinks of", path, Errno::LOOP));
            }
            let target = self.read_link(&next)?;
            if target.as_bytes().first() == Some(&b'/') {
                done = PathBuf::new();
            }
            for part in components(&target).into_iter().rev() {
                todo.push_front(part);
            }
        }
        Ok(done)
    }

    fn openat2(&self, path: &Path, flags: OFlags, operation: &'static str) -> Result<OwnedFd> {
        let whole = relative(path);
        if whole.as_os_str().len() <= MAX_PATH {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            return openat2_retrying(self.top.as_fd(), whole, flags, resolve).doing(operation, whole);
        }
        // Longer than one call takes: go in steps. Only the first may meet symlinks, since a later
        // step starts from a directory that is not the root.
        let mut dir: Option<OwnedFd> = None;
        let mut step = PathBuf::new();
        let mut names = whole.components().peekable();
        while let Some(name) = names.next() {
            step.push(name);
            let next_len = names.peek().map_or(0, |next| next.as_os_str().len());
            if names.peek().is_some() && step.as_os_str().len() + 1 + next_len <= MAX_PATH {
                continue;
            }
            let flags = if names.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { flags };
            let opened = match &dir {
                None => {
                    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                    openat2_retrying(self.top.as_fd(), &step, flags, resolve)
                }
                Some(dir) => {
                    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                    openat2_retrying(dir.as_fd(), &step, flags, resolve)
                }
            };
            dir = Some(opened.doing(operation, whole)?);
            step = PathBuf::new();
        }
        dir.ok_or_else(|| Error::new(operation, whole, Errno::NAMETOOLONG))
    }
}

fn openat2_retrying(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::CLOEXEC;
    for _ in 0..MAX_TRIES {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn create_owned_dir(dir: &Dir, name: &OsStr, mode: u32, owner: Owner) -> Result<()> {
    dir.create_dir(name, mode)?;
    dir.set_owner(name, owner)
}

/// The path without leading slashes.
fn relative(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().position(|b| *b != b'/').unwrap_or(bytes.len());
    Path::new(OsStr::from_bytes(bytes.get(start..).unwrap_or_default()))
}

/// The components that mean something: without empty ones and `.`.
fn components(path: &OsStr) -> VecDeque<OsString> {
    path.as_bytes()
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}
