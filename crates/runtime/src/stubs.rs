//! Mount points that a root file system lacks: made before the process, removed after it.
//!
//! Each is remembered by its open parent directory and by what it was when made, so that removing
//! it can neither follow a symlink that the process put in the way nor take something of the
//! process's own. The parent's times are put back, so that a layer shows nothing of it.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use rootfs::{Dir, Metadata, Owner, Root, Time};

/// What a mount point has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StubKind {
    /// A directory of mode 0755.
    Directory,
    /// A directory of this mode: runc gives a new tmpfs the mode of what it covers.
    DirectoryWithMode(u32),
    /// An empty file.
    File,
}

/// A mount point that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The root file system refuses.
    #[error(transparent)]
    Root(#[from] rootfs::Error),
    /// A file where a directory has to be, or the reverse.
    #[error("{0} exists and is not a {1}")]
    WrongType(PathBuf, &'static str),
}

/// One that was made.
#[derive(Debug)]
struct Stub {
    parent: Dir,
    name: OsString,
    path: PathBuf,
    kind: StubKind,
    made: Metadata,
    /// The parent's modification time before and after.
    parent_times: (Time, Time),
}

/// Those made for a process, and where mounts cover the root file system.
#[derive(Debug, Default)]
pub(crate) struct Stubs {
    made: Vec<Stub>,
    covered: Vec<PathBuf>,
}

impl Stubs {
    /// Makes sure that `target` exists as a mount point, unless it is below an earlier one, and
    /// gives its path with symlinks resolved inside the root.
    pub fn make(&mut self, root: &Root, target: &Path, kind: StubKind) -> Result<PathBuf, StubError> {
        let resolved = root.resolve(target)?;
        let place = Path::new("/").join(&resolved);
        if !self.covered.iter().any(|mount| place.starts_with(mount)) {
            self.create(root, &place, kind)?;
        }
        self.covered.push(place.clone());
        Ok(place)
    }

    fn create(&mut self, root: &Root, place: &Path, kind: StubKind) -> Result<(), StubError> {
        let names: Vec<_> = place
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_os_string()),
                _ => None,
            })
            .collect();
        let mut dir = root.top().try_clone()?;
        let mut path = PathBuf::from("/");
        for (index, name) in names.iter().enumerate() {
            path.push(name);
            let last = index + 1 == names.len();
            let wanted = if last { kind } else { StubKind::Directory };
            match dir.metadata_if_exists(name)? {
                Some(found) => match wanted {
                    StubKind::Directory | StubKind::DirectoryWithMode(_) if !found.is_dir() => {
                        return Err(StubError::WrongType(path, "directory"));
                    }
                    StubKind::File if found.is_dir() => return Err(StubError::WrongType(path, "file")),
                    _ => {}
                },
                None => self.create_one(&dir, name, &path, wanted)?,
            }
            if !last {
                dir = dir.open_dir(name)?;
            }
        }
        Ok(())
    }

    fn create_one(&mut self, dir: &Dir, name: &OsString, path: &Path, kind: StubKind) -> Result<(), StubError> {
        let before = dir.metadata(".")?.mtime;
        match kind {
            StubKind::Directory => dir.create_dir(name, 0o755)?,
            StubKind::DirectoryWithMode(mode) => dir.create_dir(name, mode)?,
            StubKind::File => drop(dir.create_file(name, 0o644)?),
        }
        dir.set_owner(name, Owner::ROOT)?;
        let stub = Stub {
            made: dir.metadata(name)?,
            parent_times: (before, dir.metadata(".")?.mtime),
            parent: dir.try_clone()?,
            name: name.clone(),
            path: path.into(),
            kind,
        };
        self.made.push(stub);
        Ok(())
    }

    /// Removes what was made and is still as it was, innermost first. Gives the paths of those
    /// that are as they were and could not be removed.
    pub fn remove(&mut self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        while let Some(stub) = self.made.pop() {
            if !stub.remove() {
                left.push(stub.path);
            }
        }
        left
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Stub {
    /// Removes it if it is as it was made. False if it is and could not be removed.
    fn remove(&self) -> bool {
        let Ok(Some(now)) = self.parent.metadata_if_exists(&self.name) else { return true };
        let made = &self.made;
        if (now.file_type, now.mode, now.owner) != (made.file_type, made.mode, made.owner) {
            return true;
        }
        let parent_unchanged = self.parent.metadata(".").is_ok_and(|parent| parent.mtime == self.parent_times.1);
        let removed = match self.kind {
            StubKind::File if now.inode != made.inode || now.size != 0 || now.mtime != made.mtime => return true,
            StubKind::File => self.parent.remove_file(&self.name),
            // With something of the process in it, it is the process's.
            _ => match self.parent.remove_dir(&self.name) {
                Err(error) if matches!(error.errno(), rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => {
                    return true;
                }
                result => result,
            },
        };
        if removed.is_ok()
            && parent_unchanged
            && let Ok(parent) = self.parent.metadata(".")
        {
            let _ = self.parent.set_times(".", parent.atime, self.parent_times.0);
        }
        removed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    fn setup() -> (tempfile::TempDir, PathBuf, Root) {
        let dir = tempfile::tempdir().expect("temp dir");
        let rootfs = dir.path().join("rootfs");
        fs::create_dir(&rootfs).expect("mkdir");
        let root = Root::open(&rootfs).expect("root");
        (dir, rootfs, root)
    }

    #[test]
    fn tree_stubs_leave_no_trace() {
        let (_dir, rootfs, root) = setup();
        fs::create_dir(rootfs.join("etc")).expect("mkdir");
        let old = fs::metadata(rootfs.join("etc")).expect("stat").mtime_nsec();
        let mut stubs = Stubs::default();
        let made = |stubs: &mut Stubs, path: &str, kind| stubs.make(&root, Path::new(path), kind).expect(path);
        assert_eq!(made(&mut stubs, "/a/b/../c", StubKind::Directory), Path::new("/a/c"));
        assert_eq!(made(&mut stubs, "/etc/hosts", StubKind::File), Path::new("/etc/hosts"));
        assert_eq!(made(&mut stubs, "/etc/hostname", StubKind::File), Path::new("/etc/hostname"));
        assert!(rootfs.join("a/c").is_dir() && rootfs.join("etc/hosts").is_file());
        assert_eq!(made(&mut stubs, "/a/c/below", StubKind::File), Path::new("/a/c/below"));
        assert!(!rootfs.join("a/c/below").exists(), "below a mount, the runtime makes it");
        assert_eq!(stubs.remove(), [""; 0].map(PathBuf::from));
        assert_eq!(fs::read_dir(&rootfs).expect("dir").count(), 1);
        assert_eq!(fs::read_dir(rootfs.join("etc")).expect("dir").count(), 0);
        assert_eq!(fs::metadata(rootfs.join("etc")).expect("stat").mtime_nsec(), old);
    }

    #[test]
    fn tree_stubs_that_the_process_used_stay() {
        let (_dir, rootfs, root) = setup();
        let mut stubs = Stubs::default();
        for (path, kind) in
            [("/run/x", StubKind::File), ("/f", StubKind::File), ("/g", StubKind::File), ("/d", StubKind::Directory)]
        {
            stubs.make(&root, Path::new(path), kind).expect(path);
        }
        fs::write(rootfs.join("run/mine"), "").expect("write");
        fs::write(rootfs.join("f"), "content").expect("write");
        fs::remove_file(rootfs.join("g")).expect("remove");
        fs::write(rootfs.join("g"), "").expect("write");
        fs::write(rootfs.join("d/mine"), "").expect("write");
        assert!(stubs.remove().is_empty());
        assert!(!rootfs.join("run/x").exists());
        for kept in ["run/mine", "f", "d/mine"] {
            assert!(rootfs.join(kept).exists(), "{kept}");
        }
    }

    #[test]
    fn tree_stubs_never_lead_out() {
        let (dir, rootfs, root) = setup();
        let canary = dir.path().join("canary");
        fs::create_dir_all(canary.join("b")).expect("mkdir");
        symlink(&canary, rootfs.join("out")).expect("symlink");
        symlink("../../../../../..", rootfs.join("up")).expect("symlink");
        let mut stubs = Stubs::default();
        let inside = stubs.make(&root, Path::new("/out/hosts"), StubKind::File).expect("inside");
        assert!(rootfs.join(inside.strip_prefix("/").expect("absolute")).is_file());
        assert!(!canary.join("hosts").exists());
        assert_eq!(stubs.make(&root, Path::new("/up/n/b"), StubKind::Directory).expect("inside"), Path::new("/n/b"));
        // The process replaces the parent by a symlink to a directory that has an empty `b`.
        fs::remove_dir_all(rootfs.join("n")).expect("remove");
        symlink(&canary, rootfs.join("n")).expect("symlink");
        stubs.remove();
        assert!(canary.join("b").is_dir());
    }

    #[test]
    fn tree_stubs_of_the_wrong_type() {
        let (_dir, rootfs, root) = setup();
        fs::write(rootfs.join("file"), "").expect("write");
        symlink("loop", rootfs.join("loop")).expect("symlink");
        let mut stubs = Stubs::default();
        let error =
            |stubs: &mut Stubs, path: &str, kind| stubs.make(&root, Path::new(path), kind).expect_err(path).to_string();
        assert_eq!(error(&mut stubs, "/file", StubKind::Directory), "/file exists and is not a directory");
        assert_eq!(error(&mut stubs, "/file/x", StubKind::File), "/file exists and is not a directory");
        assert!(stubs.make(&root, Path::new("/loop/x"), StubKind::File).is_err());
    }
}
