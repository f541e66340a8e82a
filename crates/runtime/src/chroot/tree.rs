//! The tree that a step without an OCI runtime sees as `/`: the root file system and what is mounted
//! in it, put together in the mount namespace of the run.
//!
//! A mount point is opened inside the root, and what is mounted is attached to that descriptor: a
//! tree that changes meanwhile leads to no other place. Device nodes of the root file system and of
//! what is mounted in it mean nothing, because no control group keeps the step from using them.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount, Spec};
use rootfs::{Dir, FileType, Owner, Root};
use rustix::fs::{CWD, FileType as Kind, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::pty::OpenptFlags;

use super::copy_up::copy_up;
use super::options::MountOptions;
use crate::StartError;
use crate::sys::attributes as bits;
use crate::sys::{LateMount, LateSource};

/// The tree, and what is left for the step itself to mount.
pub(crate) struct Tree {
    /// Where it is.
    pub path: PathBuf,
    /// `/proc` and what is mounted below it: a process sees those of its own PID namespace alone, so
    /// that it is mounted when the step is in its.
    pub late: Vec<LateMount>,
    root: Root,
    nodes: Nodes,
}

/// Device nodes, in memory of the run's own: the step sees them by mounts, so that no other directory
/// that it may write to needs to have live ones.
struct Nodes {
    dir: Dir,
    made: std::cell::Cell<u32>,
}

/// What is made below `/dev`.
struct Node<'a> {
    kind: FileType,
    numbers: rootfs::Device,
    mode: u32,
    owner: Owner,
    /// Where the host has it.
    host: &'a Path,
}

/// Devices of every process, and their minor numbers of major number 1; the terminal is 5:0.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Names of `/dev` that lead elsewhere.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// What failed, and how.
pub(crate) fn failed(what: impl Into<String>) -> impl FnOnce(Errno) -> StartError {
    let what = what.into();
    move |errno| StartError::Step(what, errno)
}

fn of_root(what: impl Into<String>) -> impl FnOnce(rootfs::Error) -> StartError {
    let what = what.into();
    move |error| StartError::Step(what, error.errno())
}

impl Tree {
    /// Puts the tree together as `spec` says, at a new directory of `bundle`.
    pub fn build(spec: &Spec, bundle: &Path) -> Result<Tree, StartError> {
        let rootfs = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
        let path = bundle.join("root");
        std::fs::create_dir(&path)
            .map_err(|error| failed("make a directory for the root file system")(errno(&error)))?;
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(CWD, &rootfs, clone).map_err(failed("open the root file system"))?;
        let no_devices = if may_use_all_devices(spec) { 0 } else { bits::NODEV };
        let private = Some(MountPropagationFlags::PRIVATE);
        crate::sys::set_mount_attributes(tree.as_fd(), true, no_devices, 0, private)
            .map_err(failed("set the attributes of the root file system"))?;
        rustix::mount::move_mount(tree.as_fd(), "", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed("mount the root file system"))?;
        let root = Root::open(&path).map_err(of_root("open the root file system"))?;
        let nodes = Nodes::make(&bundle.join("nodes")).map_err(failed("make a place for device nodes"))?;
        let mut tree = Tree { path, late: Vec::new(), root, nodes };
        for mount in spec.mounts().iter().flatten() {
            let what = format!("mount {}", mount.destination().display());
            tree.mount(mount, no_devices).map_err(failed(what))?;
            if mount.destination() == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs") {
                tree.fill_dev(spec)?;
            }
        }
        tree.make_working_dir(spec);
        Ok(tree)
    }

    fn mount(&mut self, mount: &Mount, no_devices: u64) -> Result<(), Errno> {
        let target = mount.destination();
        let mut options = MountOptions::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or("bind");
        let is_below_proc = target.starts_with("/proc") && !self.late.is_empty();
        let source = match kind {
            "proc" => {
                let attributes = options.set & !bits::RDONLY;
                self.late.push(LateMount { target: c_path(target)?, source: LateSource::Proc { attributes } });
                return Ok(());
            }
            "bind" => {
                let source = mount.source().as_deref().ok_or(Errno::INVAL)?;
                bind(source, &options, if options.wants_devices { 0 } else { no_devices })?
            }
            "sysfs" => sysfs(&options)?,
            "devpts" => terminals(mount.source().as_deref().unwrap_or(Path::new(kind)), &options)?,
            kind => {
                if kind == "tmpfs" && !options.wants_devices {
                    options.set |= no_devices;
                }
                if kind == "tmpfs" && !options.data.iter().any(|(key, _)| key == "mode") {
                    // What covers a directory looks like it.
                    if let Ok(covered) = self.root.metadata_following(target) {
                        options.data.push(("mode".to_owned(), Some(format!("{:o}", covered.mode & 0o7777))));
                    }
                }
                new_file_system(kind, mount.source().as_deref().unwrap_or(Path::new(kind)), &options)?
            }
        };
        if is_below_proc {
            self.late.push(LateMount { target: c_path(target)?, source: LateSource::Tree(source) });
            return Ok(());
        }
        let is_directory = Kind::from_raw_mode(rustix::fs::fstat(&source)?.st_mode) == Kind::Directory;
        let place = self.place(target, is_directory)?;
        if options.copy_up {
            let dir = |fd: &OwnedFd| Ok(Dir::from_fd(fd.try_clone().map_err(|error| errno(&error))?, target));
            copy_up(&dir(&place)?, &dir(&source)?)?;
        }
        attach(&source, &place)
    }

    /// Opens a mount point, which is made if it is missing.
    fn place(&self, target: &Path, is_directory: bool) -> Result<OwnedFd, Errno> {
        let resolved = self.root.resolve(target).map_err(|error| error.errno())?;
        if self.root.metadata_if_exists(&resolved).map_err(|error| error.errno())?.is_none() {
            let dir = if is_directory { resolved.as_path() } else { resolved.parent().unwrap_or(Path::new("")) };
            self.root.create_dir_all(dir, 0o755, Owner::ROOT).map_err(|error| error.errno())?;
            if !is_directory {
                self.root.create_file(&resolved, 0o644, Owner::ROOT).map_err(|error| error.errno())?;
            }
        }
        let (dir, name) = self.root.locate(&resolved).map_err(|error| error.errno())?;
        let place = rustix::fs::openat(&dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        match Kind::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) {
            Kind::Symlink => Err(Errno::LOOP),
            Kind::Directory if !is_directory => Err(Errno::ISDIR),
            Kind::Directory => Ok(place),
            _ if is_directory => Err(Errno::NOTDIR),
            _ => Ok(place),
        }
    }

    /// Makes the devices and names that every process has, and those of `spec`.
    fn fill_dev(&self, spec: &Spec) -> Result<(), StartError> {
        let what = |name: &str| format!("make /dev/{name}");
        let dev = self.root.open_dir("/dev").map_err(of_root("open /dev"))?;
        for (name, major, minor) in DEVICES {
            let host = Path::new("/dev").join(name);
            let numbers = rootfs::Device { major, minor };
            let node = Node { kind: FileType::CharDevice, numbers, mode: 0o666, owner: Owner::ROOT, host: &host };
            self.show_node(&dev, OsStr::new(name), &node).map_err(failed(what(name)))?;
        }
        let has_core = Path::new("/proc/kcore").exists();
        for (name, text) in LINKS.into_iter().filter(|(name, _)| *name != "core" || has_core) {
            dev.symlink(text, name).map_err(of_root(what(name)))?;
        }
        let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
        for device in devices.into_iter().flatten() {
            self.make_device(device).map_err(failed(format!("make device {}", device.path().display())))?;
        }
        Ok(())
    }

    fn make_device(&self, device: &LinuxDevice) -> Result<(), Errno> {
        let kind = match device.typ() {
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::P => FileType::Fifo,
            _ => FileType::CharDevice,
        };
        let number = |number: i64| u32::try_from(number).map_err(|_| Errno::INVAL);
        let numbers = rootfs::Device { major: number(device.major())?, minor: number(device.minor())? };
        let owner = Owner { uid: device.uid().unwrap_or(0), gid: device.gid().unwrap_or(0) };
        let parent = device.path().parent().unwrap_or(Path::new("/"));
        self.root.create_dir_all(parent, 0o755, Owner::ROOT).map_err(|error| error.errno())?;
        let (dir, name) = self.root.locate(device.path()).map_err(|error| error.errno())?;
        dir.remove_all(&name).map_err(|error| error.errno())?;
        let mode = device.file_mode().unwrap_or(0o666);
        self.show_node(&dir, &name, &Node { kind, numbers, mode, owner, host: device.path() })
    }

    /// Shows a node under a new name; the host's own where none can be made.
    fn show_node(&self, dir: &Dir, name: &OsStr, node: &Node<'_>) -> Result<(), Errno> {
        let source = self.nodes.mount(node)?;
        drop(dir.create_file(name, 0o644).map_err(|error| error.errno())?);
        let place = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        attach(&source, &place)
    }

    /// Makes the working directory where it is below a mount. Elsewhere it has been made; what cannot
    /// be made is missed when the step goes there.
    fn make_working_dir(&self, spec: &Spec) {
        let process = spec.process().as_ref();
        if let Some(dir) = process.map(|process| process.cwd()).filter(|dir| !dir.starts_with("/proc")) {
            let _ = self.root.create_dir_all(dir, 0o755, Owner::ROOT);
        }
    }

    /// Opens a new terminal of the step's own, owned by `uid`: its master side, and the step's.
    pub fn open_terminal(&self, uid: u32) -> Result<(OwnedFd, OwnedFd), StartError> {
        self.try_open_terminal(uid).map_err(failed("make the step's terminal"))
    }

    fn try_open_terminal(&self, uid: u32) -> Result<(OwnedFd, OwnedFd), Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let pts = self.root.open_dir("/dev/pts").map_err(|error| error.errno())?;
        let open = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master = rustix::fs::openat(&pts, "ptmx", open, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None)?;
        // `/dev/console` is the same terminal.
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let number = name.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let terminal = rustix::mount::open_tree(&pts, OsStr::from_bytes(number), clone)?;
        attach(&terminal, &self.place(Path::new("/dev/console"), false)?)?;
        Ok((master, slave))
    }
}

impl Nodes {
    /// Makes them a place at a new directory.
    fn make(path: &Path) -> Result<Nodes, Errno> {
        std::fs::create_dir(path).map_err(|error| errno(&error))?;
        let options = MountOptions::parse(&["nosuid", "noexec", "mode=700"].map(String::from));
        let memory = new_file_system("tmpfs", Path::new("nodes"), &options)?;
        rustix::mount::move_mount(memory.as_fd(), "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(Nodes { dir: Dir::from_fd(memory, path), made: Default::default() })
    }

    /// A mount of one alone.
    fn mount(&self, node: &Node<'_>) -> Result<OwnedFd, Errno> {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let name = self.made.replace(self.made.get() + 1).to_string();
        match self.dir.mknod(&name, node.kind, node.mode, node.numbers) {
            Ok(()) => {
                self.dir.set_owner(&name, node.owner).map_err(|error| error.errno())?;
                return rustix::mount::open_tree(&self.dir, name, clone);
            }
            Err(error) if error.errno() == Errno::PERM => {}
            Err(error) => return Err(error.errno()),
        }
        let source = rustix::mount::open_tree(CWD, node.host, clone)?;
        match rustix::fs::fstat(&source)?.st_rdev == rustix::fs::makedev(node.numbers.major, node.numbers.minor) {
            true => Ok(source),
            false => Err(Errno::NODEV),
        }
    }
}

/// Whether control groups would let the step use every device.
fn may_use_all_devices(spec: &Spec) -> bool {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let rules = resources.and_then(|resources| resources.devices().as_ref());
    rules.into_iter().flatten().any(|rule| rule.allow() && rule.typ().is_none() && rule.major().is_none())
}

/// A clone of what is at `source`, a path of the run's own.
fn bind(source: &Path, options: &MountOptions, no_devices: u64) -> Result<OwnedFd, Errno> {
    let mut clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    clone.set(OpenTreeFlags::AT_RECURSIVE, options.recursive);
    let tree = rustix::mount::open_tree(CWD, source, clone)?;
    let (spread, below) = options.propagation.unwrap_or((MountPropagationFlags::PRIVATE, true));
    crate::sys::set_mount_attributes(tree.as_fd(), below && options.recursive, 0, 0, Some(spread))?;
    crate::sys::set_mount_attributes(tree.as_fd(), options.recursive, no_devices, 0, None)?;
    // That the host's own mount may only be read is not for an option's lack to change.
    let clear = options.clear & !(no_devices | bits::RDONLY);
    crate::sys::set_mount_attributes(tree.as_fd(), false, options.set, clear, None)?;
    Ok(tree)
}

/// The kernel's objects, of the network that the step is in; the host's own where a new mount of them
/// is not allowed.
fn sysfs(options: &MountOptions) -> Result<OwnedFd, Errno> {
    match new_file_system("sysfs", Path::new("sysfs"), options) {
        Err(Errno::PERM | Errno::BUSY) => {}
        other => return other,
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, "/sys", clone)?;
    let spread = Some(MountPropagationFlags::PRIVATE);
    crate::sys::set_mount_attributes(tree.as_fd(), true, options.set, 0, spread)?;
    Ok(tree)
}

/// Terminals of the step's own. Where no group 5 is mapped, they have the group of who opens them.
fn terminals(source: &Path, options: &MountOptions) -> Result<OwnedFd, Errno> {
    match new_file_system("devpts", source, options) {
        Err(Errno::INVAL) => {
            let mut options = options.clone();
            options.data.retain(|(key, _)| key != "gid");
            new_file_system("devpts", source, &options)
        }
        other => other,
    }
}

fn new_file_system(kind: &str, source: &Path, options: &MountOptions) -> Result<OwnedFd, Errno> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "source", source)?;
    for (key, value) in &options.data {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(fs.as_fd(), key, value)?,
            None if matches!(key.as_str(), "sync" | "dirsync" | "mand" | "newinstance") => {
                rustix::mount::fsconfig_set_flag(fs.as_fd(), key)?;
            }
            // The opposites of these, and `copy`, say what is so anyway.
            None => {}
        }
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(options.set as u32);
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Attaches a mount at a place that is open.
fn attach(mount: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", place.as_fd(), "", flags)
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

/// The kernel's number for it.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The host's device that swallows all, if it is that.
pub(crate) fn check_null() -> Result<(), StartError> {
    let what = "find /dev/null of the host";
    let null: OwnedFd = File::open("/dev/null").map_err(|error| failed(what)(errno(&error)))?.into();
    match rustix::fs::fstat(&null).map_err(failed(what))?.st_rdev == rustix::fs::makedev(1, 3) {
        true => Ok(()),
        false => Err(failed(what)(Errno::NODEV)),
    }
}
