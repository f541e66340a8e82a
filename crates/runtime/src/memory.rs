//! Files of a run that never touch a disk: the runtime's configuration, which has the environment,
//! and the secrets that are mounted for the process.
//!
//! They are in a tmpfs of the run's own, which is mounted only where the runtime sees it. It is
//! gone with the last of its descriptors and mounts, however gabion ends.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rootfs::Owner;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};

/// Bytes that may be a secret: they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Arc<[u8]>);

impl Content {
    /// These bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Content {
        Content(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

/// The tmpfs of a run, before and after it is mounted.
#[derive(Debug)]
pub(crate) struct Memory {
    mount: OwnedFd,
    path: PathBuf,
}

impl Memory {
    /// Makes one; `path` is a directory, made here, where the runtime will see it.
    pub fn create(path: PathBuf) -> std::io::Result<Memory> {
        std::fs::create_dir(&path)?;
        let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(fs.as_fd(), "mode", "0700")?;
        // Kernels before 6.4 don't know it; their swap may see what is here.
        let _ = rustix::mount::fsconfig_set_flag(fs.as_fd(), "noswap");
        rustix::mount::fsconfig_create(fs.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok(Memory { mount, path })
    }

    /// Where the runtime sees it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, and gives the path by which the runtime sees it.
    pub fn write(&self, name: &str, content: &[u8], mode: u32, owner: Owner) -> std::io::Result<PathBuf> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file: File = rustix::fs::openat(&self.mount, name, flags, Mode::RUSR)?.into();
        file.write_all(content)?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        Ok(self.path.join(name))
    }

    /// Mounts it at its place; to be called in the runtime's mount namespace.
    pub fn attach(&self) -> std::io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(rustix::mount::move_mount(self.mount.as_fd(), "", CWD, &self.path, flags)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_content_is_never_shown() {
        assert_eq!(format!("{:?}", Content::new(*b"secret")), "Content(6 bytes)");
    }
}
