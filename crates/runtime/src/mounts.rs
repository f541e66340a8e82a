//! What is mounted where: from what the caller asks to what the runtime is told.
//!
//! A source is opened once, before anything of the step runs, and cloned as a detached mount from
//! that descriptor (`open_tree`): a tree that changes meanwhile cannot put another source in its
//! place. The clones are attached below the bundle, in a mount namespace that only the runtime
//! sees, and are gone with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount as SpecMount, MountBuilder};
use rootfs::{Owner, Root};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::memory::{Content, Memory};
use crate::namespaces::{self, OpenNamespace};
use crate::stubs::{StubError, StubKind, Stubs};

/// One mount of the process.
#[derive(Debug)]
pub struct Mount {
    /// Where, inside the root file system; absolute. Created when missing and removed afterwards.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Whether the process may not write to it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug)]
pub enum MountKind {
    /// A file or directory.
    Bind {
        /// Which.
        source: BindSource,
        /// How mounts inside it spread.
        propagation: Propagation,
        /// Whether what is mounted below the source comes along.
        recursive: bool,
        /// Whether writes go to a scratch directory that is dropped with the process.
        discard_writes: bool,
        /// Paths below a directory that the process does not see.
        hidden: Vec<PathBuf>,
        /// Further mount options by their names in mount(8): `nosuid`, `nodev`, `noexec`…
        options: Vec<String>,
    },
    /// A file with this content, which is never on a disk.
    File {
        /// What is in it.
        content: Content,
        /// Its mode.
        mode: u32,
        /// Its owner.
        owner: Owner,
        /// Further mount options by their names in mount(8).
        options: Vec<String>,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Largest size in bytes; the kernel's default when absent.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: Option<u32>,
        /// Whether it starts as a copy of what is at the target.
        copy_up: bool,
        /// Further mount options by their names in mount(8).
        options: Vec<String>,
    },
}

/// Source of a bind mount.
#[derive(Debug)]
pub enum BindSource {
    /// A path of the host that the user named; symlinks are followed.
    Path(PathBuf),
    /// An open file or directory (`O_PATH` is enough): what was found in a tree that is not trusted.
    Fd(OwnedFd),
}

/// How mounts and unmounts spread between a bind mount and its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// Not at all, and neither below.
    #[default]
    RecursivePrivate,
    /// From the source to the mount.
    Slave,
    /// From the source to the mount, and below.
    RecursiveSlave,
    /// Both ways.
    Shared,
    /// Both ways, and below.
    RecursiveShared,
}

impl Propagation {
    /// The name as a mount option, by which it is also parsed.
    pub fn name(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::RecursivePrivate => "rprivate",
            Propagation::Slave => "slave",
            Propagation::RecursiveSlave => "rslave",
            Propagation::Shared => "shared",
            Propagation::RecursiveShared => "rshared",
        }
    }

    /// The propagation of that name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Propagation> {
        use Propagation::*;
        [Private, RecursivePrivate, Slave, RecursiveSlave, Shared, RecursiveShared]
            .into_iter()
            .find(|each| each.name() == name)
    }
}

/// A mount that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The source cannot be opened.
    #[error("unable to open mount source {0}: {1}")]
    Source(PathBuf, Errno),
    /// Neither a file nor a directory.
    #[error("mount source {0} is neither a file nor a directory")]
    SourceType(PathBuf),
    /// The target cannot be made in the root file system.
    #[error("unable to prepare mount target {0}: {1}")]
    Target(PathBuf, StubError),
    /// The target's path is not absolute, or is the root itself.
    #[error("invalid mount target {0:?}: expected an absolute path below /")]
    InvalidTarget(PathBuf),
    /// An option that could be read as several, or that the runtime would take for something else.
    #[error("invalid mount option {0:?}")]
    InvalidOption(String),
    /// The kernel refuses.
    #[error("unable to mount {0}: {1}")]
    Mount(PathBuf, Errno),
    /// A place for scratch data cannot be made.
    #[error("unable to prepare scratch space for {0}: {1}")]
    Scratch(PathBuf, std::io::Error),
    /// The specification refuses the mount.
    #[error("unable to describe the mount of {0}: {1}")]
    Spec(PathBuf, oci_spec::OciSpecError),
}

/// A source that waits for being attached in the runtime's mount namespace.
#[derive(Debug)]
pub(crate) struct Attachment {
    tree: OwnedFd,
    target: PathBuf,
    /// Scratch directory when writes are dropped or paths are hidden: the tree is attached below it,
    /// and an overlay at the target.
    scratch: Option<PathBuf>,
    discard_writes: bool,
    hidden: Vec<PathBuf>,
}

/// Where what a run needs is written.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    /// The bundle.
    pub bundle: &'a Path,
    /// What is never on a disk.
    pub memory: &'a Memory,
}

/// The mounts of a process as the runtime gets them, and what is to be done before.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// In the order in which they are made.
    pub spec: Vec<SpecMount>,
    /// To be done in the runtime's mount namespace.
    pub attachments: Vec<Attachment>,
}

/// Options that are passed on; any other is refused, so that none can turn into two or lead the
/// runtime to another meaning.
const OPTIONS: [&str; 20] = [
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "atime",
    "nodiratime",
    "diratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "copy",
];

impl Prepared {
    /// Adds `mount`, with a mount point in `root`. Mounts must come outermost first.
    pub fn add(&mut self, mount: Mount, root: &Root, stubs: &mut Stubs, places: Places<'_>) -> Result<(), MountError> {
        let target = mount.target.clone();
        if !target.is_absolute()
            || target.as_os_str().as_encoded_bytes().contains(&0)
            || target.components().count() < 2
        {
            return Err(MountError::InvalidTarget(target));
        }
        let mut builder = MountBuilder::default();
        let mut words: Vec<String> = Vec::new();
        let (kind, more) = match mount.kind {
            MountKind::Bind { source, propagation, recursive, discard_writes, hidden, options } => {
                let discard_writes = discard_writes && !mount.read_only;
                let (source, kind) = self.bind(source, recursive, discard_writes, hidden, places.bundle)?;
                builder = builder.typ("bind").source(source);
                words.push(if recursive { "rbind" } else { "bind" }.into());
                words.push(propagation.name().into());
                (kind, options)
            }
            MountKind::File { content, mode, owner, options } => {
                let name = format!("mount-{}", self.spec.len());
                let source = places.memory.write(&name, content.as_bytes(), mode, owner);
                builder =
                    builder.typ("bind").source(source.map_err(|error| MountError::Scratch(target.clone(), error))?);
                words.extend(["bind", Propagation::RecursivePrivate.name()].map(String::from));
                (StubKind::File, options)
            }
            MountKind::Tmpfs { size, mode, copy_up, options } => {
                builder = builder.typ("tmpfs").source("tmpfs");
                words.extend(size.map(|size| format!("size={size}")));
                words.extend(mode.map(|mode| format!("mode={:o}", mode & 0o7777)));
                if copy_up {
                    words.push("tmpcopyup".into());
                }
                (mode.map_or(StubKind::Directory, |mode| StubKind::DirectoryWithMode(mode & 0o7777)), options)
            }
        };
        for option in more {
            if !OPTIONS.contains(&option.as_str()) {
                return Err(MountError::InvalidOption(option));
            }
            words.push(option);
        }
        words.push(if mount.read_only { "ro" } else { "rw" }.into());
        let place = stubs.make(root, &target, kind).map_err(|error| MountError::Target(target.clone(), error))?;
        let spec =
            builder.destination(place).options(words).build().map_err(|error| MountError::Spec(target, error))?;
        self.spec.push(spec);
        Ok(())
    }

    /// Adds a namespace, to be found in the bundle.
    pub fn add_namespace(&mut self, namespace: OpenNamespace, bundle: &Path) -> Result<(), MountError> {
        let target = namespaces::place(bundle, namespace.name);
        File::create_new(&target).map_err(|error| MountError::Scratch(target.clone(), error))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = rustix::mount::open_tree(&namespace.file, "", flags)
            .map_err(|errno| MountError::Mount(target.clone(), errno))?;
        self.attachments.push(Attachment { tree, target, scratch: None, discard_writes: false, hidden: Vec::new() });
        Ok(())
    }

    /// Opens a source and gives the path that it will have for the runtime, and what it is.
    fn bind(
        &mut self,
        source: BindSource,
        recursive: bool,
        discard_writes: bool,
        hidden: Vec<PathBuf>,
        bundle: &Path,
    ) -> Result<(PathBuf, StubKind), MountError> {
        let (fd, name) = match source {
            BindSource::Path(path) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let fd = rustix::fs::open(&path, flags, Mode::empty())
                    .map_err(|errno| MountError::Source(path.clone(), errno))?;
                (fd, path)
            }
            BindSource::Fd(fd) => (fd, PathBuf::from("of a descriptor")),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| MountError::Source(name.clone(), errno))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => StubKind::Directory,
            FileType::Symlink => return Err(MountError::SourceType(name)),
            _ => StubKind::File,
        };
        let scratch_error = |error| MountError::Scratch(name.clone(), error);
        let number = self.spec.len();
        let place = bundle.join(format!("mount-{number}"));
        if discard_writes && kind == StubKind::File {
            // A device may never end, and a FIFO never begin.
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(MountError::SourceType(name));
            }
            copy_file(&fd, &place).map_err(scratch_error)?;
            return Ok((place, kind));
        }
        let mut flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let tree = rustix::mount::open_tree(&fd, "", flags).map_err(|errno| MountError::Source(name.clone(), errno))?;
        match kind {
            StubKind::Directory | StubKind::DirectoryWithMode(_) => {
                std::fs::create_dir(&place).map_err(scratch_error)?
            }
            StubKind::File => drop(File::create_new(&place).map_err(scratch_error)?),
        }
        let scratch = (discard_writes || !hidden.is_empty()).then(|| bundle.join(format!("scratch-{number}")));
        if let Some(scratch) = &scratch {
            for dir in ["", "lower", "hidden", "upper", "work"] {
                std::fs::create_dir(scratch.join(dir)).map_err(scratch_error)?;
            }
        }
        self.attachments.push(Attachment { tree, target: place.clone(), scratch, discard_writes, hidden });
        Ok((place, kind))
    }
}

/// Copies what `fd` is to a new file; only the content and the mode matter to a step.
fn copy_file(fd: &OwnedFd, to: &Path) -> std::io::Result<()> {
    let mut from = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let mut copy = File::create_new(to)?;
    std::io::copy(&mut from, &mut copy)?;
    let stat = rustix::fs::fstat(fd)?;
    rustix::fs::fchown(
        &copy,
        Some(rustix::process::Uid::from_raw(stat.st_uid)),
        Some(rustix::process::Gid::from_raw(stat.st_gid)),
    )?;
    Ok(rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode))?)
}

impl Attachment {
    /// Attaches the source at its place; to be called in the runtime's mount namespace.
    pub fn attach(&self) -> Result<(), MountError> {
        let place = match &self.scratch {
            Some(scratch) => scratch.join("lower"),
            None => self.target.clone(),
        };
        rustix::mount::move_mount(self.tree.as_fd(), "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|errno| MountError::Mount(place, errno))?;
        let Some(scratch) = &self.scratch else { return Ok(()) };
        self.overlay(scratch).map_err(|errno| MountError::Mount(self.target.clone(), errno))
    }

    /// Mounts what the process sees of the tree, which is attached below `scratch` by now.
    fn overlay(&self, scratch: &Path) -> Result<(), Errno> {
        let (lower, hidden) = (scratch.join("lower"), scratch.join("hidden"));
        let mut lowers = vec![lower.as_path()];
        if !self.hidden.is_empty() {
            tmpfs(&hidden)?;
            hide(&self.hidden, &lower, &hidden)?;
            lowers.insert(0, &hidden);
        }
        if !self.discard_writes {
            return overlay_of(&lowers, None, &self.target);
        }
        let (upper, work) = (scratch.join("upper"), scratch.join("work"));
        if overlay_of(&lowers, Some((&upper, &work)), &self.target).is_ok() {
            return Ok(());
        }
        // The bundle's file system cannot be an upper layer (an overlay itself): memory can.
        tmpfs(&upper)?;
        let (upper, work) = (upper.join("upper"), upper.join("work"));
        for dir in [&upper, &work] {
            rustix::fs::mkdir(dir, Mode::RWXU)?;
        }
        overlay_of(&lowers, Some((&upper, &work)), &self.target)
    }
}

/// Makes a layer in the directory `into` that hides `paths` of the tree at `lower`. Its directories
/// look like those that they cover.
fn hide(paths: &[PathBuf], lower: &Path, into: &Path) -> Result<(), Errno> {
    let mut made: Vec<&Path> = Vec::new();
    let mut known = BTreeSet::new();
    for path in paths {
        let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|dir| !known.contains(dir)).collect();
        for dir in missing.drain(..).rev() {
            if !dir.as_os_str().is_empty() {
                rustix::fs::mkdir(into.join(dir), Mode::RWXU)?;
            }
            known.insert(dir);
            made.push(dir);
        }
        rustix::fs::mknodat(CWD, into.join(path), FileType::CharacterDevice, Mode::empty(), 0)?;
    }
    // Innermost first: what is made in a directory changes its time.
    made.iter().rev().try_for_each(|dir| look_like(&lower.join(dir), &into.join(dir)))
}

/// Gives the directory `to` the owner, the mode and the times of `from`.
fn look_like(from: &Path, to: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::lstat(from)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chown(to, Some(uid), Some(gid))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Mounts an overlay over `lowers`, the uppermost first, with a directory for writes and one for the
/// kernel's work if it is to be written to. Its top keeps the uppermost one's owner and mode, which an
/// empty upper directory would hide.
fn overlay_of(lowers: &[&Path], writes: Option<(&Path, &Path)>, target: &Path) -> Result<(), Errno> {
    // The kernel takes 256 bytes: paths are longer than the numbers of descriptors.
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let short = |dir: &OwnedFd| format!("/proc/self/fd/{}", dir.as_raw_fd());
    let dirs = lowers.iter().map(|lower| open(lower)).collect::<Result<Vec<_>, _>>()?;
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let joined = dirs.iter().map(short).collect::<Vec<_>>().join(":");
    rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir", joined)?;
    if let Some((upper, work)) = writes {
        if let Some(top) = lowers.first() {
            look_like(top, upper)?;
        }
        let (upper, work) = (open(upper)?, open(work)?);
        rustix::mount::fsconfig_set_string(fs.as_fd(), "upperdir", short(&upper))?;
        rustix::mount::fsconfig_set_string(fs.as_fd(), "workdir", short(&work))?;
        rustix::mount::fsconfig_create(fs.as_fd())?;
        return attach_new(fs, target);
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    attach_new(fs, target)
}

fn tmpfs(target: &Path) -> Result<(), Errno> {
    let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(fs.as_fd())?;
    attach_new(fs, target)
}

fn attach_new(fs: OwnedFd, target: &Path) -> Result<(), Errno> {
    let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_propagation_has_six_names() {
        for name in ["private", "rprivate", "slave", "rslave", "shared", "rshared"] {
            assert_eq!(Propagation::parse(name).map(Propagation::name), Some(name));
        }
        for name in ["", "unbindable", "rprivate,suid", "private ", "PRIVATE", "private\0"] {
            assert_eq!(Propagation::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn root_options_and_targets_are_checked() {
        let dir = tempfile::tempdir().expect("temp dir");
        let rootfs = dir.path().join("rootfs");
        std::fs::create_dir(&rootfs).expect("mkdir");
        let root = Root::open(&rootfs).expect("root");
        let memory = Memory::create(dir.path().join("memory")).expect("memory");
        let places = Places { bundle: dir.path(), memory: &memory };
        let add = |target: &str, option: &str| {
            let kind = MountKind::Tmpfs { size: None, mode: None, copy_up: false, options: vec![option.into()] };
            let mount = Mount { target: target.into(), kind, read_only: false };
            let mut stubs = Stubs::default();
            let result = Prepared::default().add(mount, &root, &mut stubs, places).map_err(|error| error.to_string());
            stubs.remove();
            result
        };
        assert_eq!(add("/t", "nosuid"), Ok(()));
        for option in ["nosuid,suid", "size=1", "bind", "", "lowerdir=/", "nosuid\0"] {
            assert!(add("/t", option).expect_err(option).starts_with("invalid mount option"), "{option:?}");
        }
        for target in ["t", "/", "", "//"] {
            assert!(add(target, "nodev").expect_err(target).starts_with("invalid mount target"), "{target:?}");
        }
        assert_eq!(std::fs::read_dir(&rootfs).expect("dir").count(), 0, "stubs are gone");
    }
}
