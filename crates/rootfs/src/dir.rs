//! An open directory. Names given to it are single components: they are not resolved, so nothing
//! is ever followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, RawDir, Timestamps, Uid};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::metadata::{Device, FileType, Metadata, Owner, Time};
use crate::xattr;

/// A directory held open, with its path for messages.
///
/// The name `.` stands for the directory itself where a method only reads or changes metadata.
/// A name with a slash, an empty one and `..` are refused with `EINVAL`.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Takes `fd`, which must be a directory, possibly opened with `O_PATH`; `path` is for
    /// messages.
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Dir {
        Dir { fd, path: path.into() }
    }

    /// The path it was opened by, relative to its root; for messages.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// A second handle of the same directory.
    pub fn try_clone(&self) -> Result<Dir> {
        let fd = self.fd.try_clone().map_err(|e| {
            Error::new("duplicate the descriptor of", &self.path, Errno::from_io_error(&e).unwrap_or(Errno::MFILE))
        })?;
        Ok(Dir { fd, path: self.path.clone() })
    }

    /// The names in it except `.` and `..`, in the order of their bytes.
    pub fn names(&self) -> Result<Vec<OsString>> {
        const OP: &str = "list";
        let fd = fs::openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(OP, &self.path)?;
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry.doing(OP, &self.path)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What the name is; a symlink is not followed.
    pub fn metadata(&self, name: impl AsRef<OsStr>) -> Result<Metadata> {
        let name = self.check("stat", name.as_ref(), Dot::Allowed)?;
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).doing("stat", self.join(name))?;
        Ok(Metadata::from_stat(&stat))
    }

    /// Like [`Dir::metadata`], `None` if there is no such name.
    pub fn metadata_if_exists(&self, name: impl AsRef<OsStr>) -> Result<Option<Metadata>> {
        match self.metadata(name) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.errno() == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a directory; a symlink is refused.
    pub fn open_dir(&self, name: impl AsRef<OsStr>) -> Result<Dir> {
        let name = self.check("open directory", name.as_ref(), Dot::Allowed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.join(name);
        let fd = fs::openat(&self.fd, name, flags, Mode::empty()).doing("open directory", &path)?;
        Ok(Dir { fd, path })
    }

    /// Opens a regular file for reading. A symlink is refused, and so are devices and FIFOs,
    /// without touching them.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let name = self.check("open", name.as_ref(), Dot::Refused)?;
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOATIME;
        let path = self.join(name);
        // A device's driver would see the open, so look first; NONBLOCK saves us if it was swapped.
        if !self.metadata(name)?.is_file() {
            return Err(Error::new("open as a file", path, Errno::INVAL));
        }
        let fd = match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::PERM) => fs::openat(&self.fd, name, flags - OFlags::NOATIME, Mode::empty()),
            other => other,
        }
        .doing("open", &path)?;
        let stat = fs::fstat(&fd).doing("stat", &path)?;
        if !Metadata::from_stat(&stat).is_file() {
            return Err(Error::new("open as a file", path, Errno::INVAL));
        }
        Ok(File::from(fd))
    }

    /// Creates a new, empty file open for writing; fails if the name exists. `mode` is set exactly,
    /// whatever the umask.
    pub fn create_file(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<File> {
        let name = self.check("create", name.as_ref(), Dot::Refused)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode & 0o777)).doing("create", self.join(name))?;
        let made = fs::fstat(&fd).doing("look at", self.join(name))?;
        if made.st_mode & 0o7777 != mode & 0o7777 {
            fs::fchmod(&fd, Mode::from_raw_mode(mode & 0o7777)).doing("set the mode of", self.join(name))?;
        }
        Ok(File::from(fd))
    }

    /// Creates a directory; fails if the name exists. `mode` is set exactly.
    pub fn create_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        let name = self.check("create directory", name.as_ref(), Dot::Refused)?;
        fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)).doing("create directory", self.join(name))?;
        self.set_mode(name, mode)
    }

    /// Creates a symlink with exactly this text.
    pub fn symlink(&self, target: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> Result<()> {
        let name = self.check("create symlink", name.as_ref(), Dot::Refused)?;
        fs::symlinkat(target.as_ref(), &self.fd, name).doing("create symlink", self.join(name))
    }

    /// The text of a symlink.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> Result<OsString> {
        let name = self.check("read symlink", name.as_ref(), Dot::Refused)?;
        let text = fs::readlinkat(&self.fd, name, Vec::new()).doing("read symlink", self.join(name))?;
        Ok(OsString::from_vec(text.into_bytes()))
    }

    /// Gives `existing` in `from` a further name here; a symlink is linked itself.
    pub fn hardlink(&self, from: &Dir, existing: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> Result<()> {
        let name = self.check("create hard link", name.as_ref(), Dot::Refused)?;
        let existing = from.check("link to", existing.as_ref(), Dot::Refused)?;
        fs::linkat(&from.fd, existing, &self.fd, name, AtFlags::empty()).doing("create hard link", self.join(name))
    }

    /// Creates a device, FIFO, socket or empty file. `mode` is set exactly.
    pub fn mknod(&self, name: impl AsRef<OsStr>, file_type: FileType, mode: u32, device: Device) -> Result<()> {
        let name = self.check("create node", name.as_ref(), Dot::Refused)?;
        let raw = match file_type {
            FileType::File => fs::FileType::RegularFile,
            FileType::CharDevice => fs::FileType::CharacterDevice,
            FileType::BlockDevice => fs::FileType::BlockDevice,
            FileType::Fifo => fs::FileType::Fifo,
            FileType::Socket => fs::FileType::Socket,
            FileType::Directory | FileType::Symlink => {
                return Err(Error::new("create node", self.join(name), Errno::INVAL));
            }
        };
        let number = fs::makedev(device.major, device.minor);
        // Mode 0 first: the umask cannot add bits, and nobody can open it before its time.
        fs::mknodat(&self.fd, name, raw, Mode::empty(), number).doing("create node", self.join(name))?;
        if mode & 0o7777 == 0 { Ok(()) } else { self.set_mode(name, mode) }
    }

    /// Renames within the file system, replacing what the new name was.
    pub fn rename(&self, name: impl AsRef<OsStr>, to: &Dir, new_name: impl AsRef<OsStr>) -> Result<()> {
        let name = self.check("rename", name.as_ref(), Dot::Refused)?;
        let new_name = to.check("rename to", new_name.as_ref(), Dot::Refused)?;
        fs::renameat(&self.fd, name, &to.fd, new_name).doing("rename", self.join(name))
    }

    /// Removes a name that is not a directory.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = self.check("remove", name.as_ref(), Dot::Refused)?;
        fs::unlinkat(&self.fd, name, AtFlags::empty()).doing("remove", self.join(name))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = self.check("remove directory", name.as_ref(), Dot::Refused)?;
        fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).doing("remove directory", self.join(name))
    }

    /// Removes whatever the name is, with all below it. That it does not exist is no error.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        match self.metadata_if_exists(name)? {
            None => Ok(()),
            Some(metadata) if metadata.is_dir() => {
                crate::walk::empty(self.open_dir(name)?)?;
                self.remove_dir(name)
            }
            Some(_) => self.remove_file(name),
        }
    }

    /// Sets user and group; clears setuid and setgid bits of files, as the kernel does.
    pub fn set_owner(&self, name: impl AsRef<OsStr>, owner: Owner) -> Result<()> {
        let name = self.check("set the owner of", name.as_ref(), Dot::Allowed)?;
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        fs::chownat(&self.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .doing("set the owner of", self.join(name))
    }

    /// Sets the permission bits (`0o7777`). A symlink is refused with `ELOOP`: it has none.
    pub fn set_mode(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        const OP: &str = "set the mode of";
        let name = self.check(OP, name.as_ref(), Dot::Allowed)?;
        let handle = fs::openat(&self.fd, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .doing(OP, self.join(name))?;
        let stat = fs::fstat(&handle).doing(OP, self.join(name))?;
        if Metadata::from_stat(&stat).is_symlink() {
            return Err(Error::new(OP, self.join(name), Errno::LOOP));
        }
        // chmod takes no O_PATH descriptor, and devices must not be opened: go through /proc.
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        fs::chmodat(fs::CWD, path, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty()).doing(OP, self.join(name))
    }

    /// Sets access and modification time, to the nanosecond; a symlink's own if it is one.
    pub fn set_times(&self, name: impl AsRef<OsStr>, atime: Time, mtime: Time) -> Result<()> {
        let name = self.check("set the times of", name.as_ref(), Dot::Allowed)?;
        let times = Timestamps { last_access: atime.to_timespec(), last_modification: mtime.to_timespec() };
        fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW).doing("set the times of", self.join(name))
    }

    /// Names of the extended attributes in the order of their bytes; none where unsupported.
    pub fn xattr_names(&self, name: impl AsRef<OsStr>) -> Result<Vec<OsString>> {
        const OP: &str = "list the attributes of";
        let name = self.check(OP, name.as_ref(), Dot::Allowed)?;
        xattr::list(self.fd.as_fd(), name).doing(OP, self.join(name))
    }

    /// Extended attributes and their values, sorted by name.
    pub fn xattrs(&self, name: impl AsRef<OsStr>) -> Result<Vec<(OsString, Vec<u8>)>> {
        let name = name.as_ref();
        let mut xattrs = Vec::new();
        for key in self.xattr_names(name)? {
            if let Some(value) = self.xattr(name, &key)? {
                xattrs.push((key, value));
            }
        }
        Ok(xattrs)
    }

    /// One extended attribute; `None` if it is not set or not supported.
    pub fn xattr(&self, name: impl AsRef<OsStr>, key: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>> {
        const OP: &str = "read an attribute of";
        let name = self.check(OP, name.as_ref(), Dot::Allowed)?;
        xattr::get(self.fd.as_fd(), name, key.as_ref()).doing(OP, self.join(name))
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, name: impl AsRef<OsStr>, key: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
        const OP: &str = "set an attribute of";
        let name = self.check(OP, name.as_ref(), Dot::Allowed)?;
        xattr::set(self.fd.as_fd(), name, key.as_ref(), value).doing(OP, self.join(name))
    }

    /// Removes an extended attribute; that there is none is no error.
    pub fn remove_xattr(&self, name: impl AsRef<OsStr>, key: impl AsRef<OsStr>) -> Result<()> {
        const OP: &str = "remove an attribute of";
        let name = self.check(OP, name.as_ref(), Dot::Allowed)?;
        xattr::remove(self.fd.as_fd(), name, key.as_ref()).doing(OP, self.join(name))
    }

    /// The path of a name in it, for messages.
    pub(crate) fn join(&self, name: &OsStr) -> PathBuf {
        if name == "." { self.path.clone() } else { self.path.join(name) }
    }

    fn check<'n>(&self, operation: &'static str, name: &'n OsStr, dot: Dot) -> Result<&'n OsStr> {
        let bytes = name.as_bytes();
        let bad = bytes.is_empty() || bytes == b".." || bytes.contains(&b'/') || (bytes == b"." && dot == Dot::Refused);
        if bad { Err(Error::new(operation, self.path.join(name), Errno::INVAL)) } else { Ok(name) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Dot {
    Allowed,
    Refused,
}
