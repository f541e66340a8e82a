//! The two processes of a step without an OCI runtime, between fork and exec.
//!
//! The first one, the keeper, stays: it dies with the thread that made it, and with it, as the first
//! process of a PID namespace, all that the step has started. The second one becomes the step, as the
//! first of a namespace inside, from where the keeper is not to be seen. Where the step is in the
//! host's PID namespace, the keeper inherits what it leaves behind, and ends that.
//!
//! All memory they need has been made before the first fork; they only make system calls. The keeper
//! is a copy of its maker that never executes anything, so it gives up every descriptor and cannot be
//! looked into.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::chroot::filter::Filter;

/// Attributes of mounts (`MOUNT_ATTR_…`).
pub(crate) mod attributes {
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const ACCESS_TIMES: u64 = 0x70;
    pub const RELATIME: u64 = 0;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
}

/// Changes the attributes of a mount, and of those below it.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    below: bool,
    set: u64,
    clear: u64,
    propagation: Option<MountPropagationFlags>,
) -> Result<(), Errno> {
    /// The kernel's `struct mount_attr`.
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let propagation = propagation.map_or(0, |flags| u64::from(flags.bits()));
    let attributes = Attributes { set, clear, propagation, user_namespace: 0 };
    if (set, clear, propagation) == (0, 0, 0) {
        return Ok(());
    }
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path and the attributes live until the call is over, and the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    done(result)
}

/// Starts the loopback device of the network namespace that the thread is in.
pub(crate) fn start_loopback() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    done(socket.into())?;
    // SAFETY: all zeroes are a request; the name fits and ends with a zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *place = *byte as libc::c_char;
    }
    // SAFETY: the request lives until the calls are over; its flags are what the first one has written.
    let result = unsafe {
        let mut result = libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &raw mut request);
        if result == 0 {
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
            result = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw mut request);
        }
        result
    };
    let result = done(result.into());
    // SAFETY: it is this function's own.
    unsafe { libc::close(socket) };
    result
}

/// A mount that a process makes for itself.
#[derive(Debug)]
pub(crate) struct LateMount {
    /// Where, inside the tree.
    pub target: CString,
    pub source: LateSource,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum LateSource {
    /// The processes of its PID namespace.
    Proc {
        /// Attributes of the mount.
        attributes: u64,
    },
    /// Something that is not attached yet.
    Tree(OwnedFd),
}

/// What the second process does before it is the step. All of it is made before the first fork.
#[derive(Debug)]
pub(crate) struct StepProcess {
    /// The tree that is to be `/`.
    pub tree: CString,
    /// Whether that is done without `pivot_root`.
    pub no_pivot: bool,
    /// Whether it gets a PID namespace of its own. If not, it stays in the keeper's.
    pub own_processes: bool,
    pub late: Vec<LateMount>,
    /// What is seen as empty, if it is there.
    pub masked: Vec<CString>,
    /// What may only be read, if it is there.
    pub read_only: Vec<CString>,
    pub streams: [OwnedFd; 3],
    /// Whether the streams are its terminal.
    pub is_terminal: bool,
    pub rights: Rights,
    pub program: Program,
}

/// What the step may do.
#[derive(Debug)]
pub(crate) struct Rights {
    pub limits: Vec<(Resource, Rlimit)>,
    pub user: Uid,
    pub group: Gid,
    /// Left as they are when absent.
    pub groups: Option<Vec<Gid>>,
    pub bounding: u64,
    pub capabilities: CapabilitySets,
    pub ambient: u64,
    pub no_new_privileges: bool,
    pub filter: Option<Filter>,
    /// What is written to have the program confined by AppArmor.
    pub apparmor: Option<Vec<u8>>,
}

/// What the step executes.
#[derive(Debug)]
pub(crate) struct Program {
    pub working_dir: CString,
    /// Where it may be: the first one that can be executed is.
    pub places: Vec<CString>,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
}

/// What a process of the two was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Namespaces,
    Mounts,
    Masks,
    Root,
    Streams,
    Keyring,
    Profile,
    WorkingDir,
    Limits,
    User,
    Capabilities,
    Filter,
    Program,
}

impl Stage {
    const ALL: [Stage; 13] = [
        Stage::Namespaces,
        Stage::Mounts,
        Stage::Masks,
        Stage::Root,
        Stage::Streams,
        Stage::Keyring,
        Stage::Profile,
        Stage::WorkingDir,
        Stage::Limits,
        Stage::User,
        Stage::Capabilities,
        Stage::Filter,
        Stage::Program,
    ];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Namespaces => "make the step's namespaces",
            Stage::Mounts => "mount what is below /proc",
            Stage::Masks => "hide parts of /proc and /sys from the step",
            Stage::Root => "change the step's root directory",
            Stage::Streams => "give the step its standard streams",
            Stage::Keyring => "make a keyring for the step",
            Stage::Profile => "set the step's AppArmor profile",
            Stage::WorkingDir => "enter the step's working directory",
            Stage::Limits => "set the step's limits",
            Stage::User => "become the step's user",
            Stage::Capabilities => "set the step's capabilities",
            Stage::Filter => "set the step's system call filter",
            Stage::Program => "execute the step's program",
        })
    }
}

/// What failed, and how.
pub(crate) type Failure = (Stage, Errno);

/// The keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub pid: Pid,
    /// While it is open, the maker is known to live.
    _lifeline: OwnedFd,
}

impl Keeper {
    /// Starts both, and waits until the second one is the step.
    ///
    /// The calling thread must have a mount namespace of its own. It has unshared the PID namespace of
    /// its children if `process.own_processes`. The step does not outlive the thread.
    pub fn start(process: &StepProcess) -> Result<Keeper, Failure> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| (Stage::Namespaces, errno));
        let ((alive, lifeline), (told, tell)) = (pipe()?, pipe()?);
        let arguments = pointers(&process.program.arguments);
        let environment = pointers(&process.program.environment);
        let child = Child { process, arguments: &arguments, environment: &environment, tell: tell.as_fd() };
        // No handler of this process may run in the children.
        let before = block_all_signals();
        // SAFETY: the child makes system calls only, on what is here, and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child.keep(alive.as_fd(), lifeline.as_fd());
        }
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        set_signal_mask(&before);
        let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or((Stage::Namespaces, errno))?;
        drop(tell);
        let mut report = [0; 5];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut report)).unwrap_or(0);
        let [stage, code @ ..] = report;
        match Stage::ALL.into_iter().find(|known| *known as u8 == stage) {
            Some(stage) if length == report.len() => {
                let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
                Err((stage, Errno::from_raw_os_error(i32::from_ne_bytes(code))))
            }
            _ => Ok(Keeper { pid, _lifeline: lifeline }),
        }
    }

    /// How it ended: with the step's code.
    pub fn wait(self) -> Option<std::process::ExitStatus> {
        use std::os::unix::process::ExitStatusExt as _;
        let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(self.pid), WaitOptions::empty()));
        waited.ok().flatten().map(|(_, status)| std::process::ExitStatus::from_raw(status.as_raw()))
    }
}

fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
}

/// What the forked processes have.
struct Child<'a> {
    process: &'a StepProcess,
    arguments: &'a [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    /// Where a failure is told.
    tell: BorrowedFd<'a>,
}

impl Child<'_> {
    /// The first process.
    fn keep(&self, alive: BorrowedFd<'_>, lifeline: BorrowedFd<'_>) -> ! {
        let step = match self.try_keep(alive, lifeline) {
            Ok(step) => step,
            Err(failure) => self.fail(failure),
        };
        // SAFETY: plain numbers. Every descriptor here is a copy that only this process has.
        unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32) };
        let code = if self.process.own_processes { wait_for(step) } else { wait_for_all(step) };
        exit(code)
    }

    /// Up to the second process, whose ID it gives.
    fn try_keep(&self, alive: BorrowedFd<'_>, lifeline: BorrowedFd<'_>) -> Result<Pid, Failure> {
        let at = |errno| (Stage::Namespaces, errno);
        default_signals();
        // What a terminal sends on Ctrl-C is for the maker to pass on.
        rustix::process::setpgid(None, None).map_err(at)?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at)?;
        let own = self.process.own_processes;
        rustix::process::set_parent_process_death_signal(Some(if own { Signal::KILL } else { Signal::TERM }))
            .map_err(at)?;
        // The maker may have died before the line above: then nobody holds the pipe open.
        // SAFETY: the descriptor is this process's own copy; nothing else here uses it.
        unsafe { rustix::io::close(lifeline.as_raw_fd()) };
        let mut ends = [PollFd::new(&alive, PollFlags::empty())];
        if poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_err(at)? != 0 {
            return Err(at(Errno::PIPE));
        }
        match own {
            true => {
                unshare(CloneFlags::CLONE_NEWPID).map_err(|errno| at(Errno::from_raw_os_error(errno as i32)))?;
                set_signal_mask(&no_signals());
            }
            // Signals stay blocked: they are waited for.
            false => rustix::process::set_child_subreaper(Pid::from_raw(1)).map_err(at)?,
        }
        // SAFETY: as for the first one; this process has one thread.
        match unsafe { libc::fork() } {
            0 => match self.become_step() {
                Ok(never) => match never {},
                Err(failure) => self.fail(failure),
            },
            pid => Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(|| at(Errno::AGAIN)),
        }
    }

    /// The second process, until it is the step.
    fn become_step(&self) -> Result<Infallible, Failure> {
        let process = self.process;
        let at = |stage| move |errno| (stage, errno);
        set_signal_mask(&no_signals());
        let _ = rustix::thread::set_name(c"gabion:[step]");
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Stage::Namespaces))?;
        // The keeper's mounts stay where they are.
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|errno| (Stage::Namespaces, Errno::from_raw_os_error(errno as i32)))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(process.tree.as_c_str(), flags, Mode::empty()).map_err(at(Stage::Root))?;
        for late in &process.late {
            mount_late(&root, late, process.own_processes).map_err(at(Stage::Mounts))?;
        }
        for path in &process.read_only {
            make_read_only(&root, path).map_err(at(Stage::Masks))?;
        }
        for path in &process.masked {
            mask(&root, path).map_err(at(Stage::Masks))?;
        }
        change_root(&root, process.no_pivot).map_err(at(Stage::Root))?;
        drop(root);
        self.join_streams().map_err(at(Stage::Streams))?;
        new_keyring().map_err(at(Stage::Keyring))?;
        if let Some(profile) = &process.rights.apparmor {
            set_profile(profile).map_err(at(Stage::Profile))?;
        }
        enter(&process.program.working_dir).map_err(at(Stage::WorkingDir))?;
        // From here on nothing is opened: the limits may not allow it.
        for (resource, limit) in &process.rights.limits {
            rustix::process::setrlimit(*resource, *limit).map_err(at(Stage::Limits))?;
        }
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        self.change_rights()?;
        Err((Stage::Program, self.execute()))
    }

    fn join_streams(&self) -> Result<(), Errno> {
        let [input, output, errors] = &self.process.streams;
        for stream in [input, output, errors] {
            // `/dev/stdout` is opened anew by its user. What belongs to somebody else is no pipe of
            // ours, and has been replaced by one before.
            let stat = rustix::fs::fstat(stream)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo
                && stat.st_uid != self.process.rights.user.as_raw()
            {
                let _ = rustix::fs::fchown(stream, Some(self.process.rights.user), None);
            }
        }
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(errors)?;
        rustix::process::setsid()?;
        if self.process.is_terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        // SAFETY: plain numbers; it only marks descriptors.
        done(unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
    }

    /// From all rights to those of the step. The filter comes after what needs calls that a profile may
    /// refuse, and before what takes the right to set one.
    fn change_rights(&self) -> Result<(), Failure> {
        let rights = &self.process.rights;
        let of_user = |errno| (Stage::User, errno);
        let of_set = |errno| (Stage::Capabilities, errno);
        for number in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if rights.bounding & capability.bits() == 0 {
                match rustix::thread::remove_capability_from_bounding_set(capability) {
                    // The kernel knows no further ones.
                    Err(Errno::INVAL) => break,
                    other => other.map_err(of_set)?,
                }
            }
        }
        if let Some(groups) = &rights.groups {
            rustix::thread::set_thread_groups(groups).map_err(of_user)?;
        }
        rustix::thread::set_thread_res_gid(rights.group, rights.group, rights.group).map_err(of_user)?;
        rustix::thread::set_keep_capabilities(true).map_err(of_user)?;
        rustix::thread::set_thread_res_uid(rights.user, rights.user, rights.user).map_err(of_user)?;
        // The change of the user has taken it back.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(of_user)?;
        if rights.no_new_privileges {
            rustix::thread::set_no_new_privs(true).map_err(of_set)?;
        }
        let kept = rustix::thread::capabilities(None).map_err(of_set)?.permitted;
        let all = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, all).map_err(of_set)?;
        rustix::thread::clear_ambient_capability_set().map_err(of_set)?;
        if let Some(filter) = &rights.filter {
            install(filter).map_err(|errno| (Stage::Filter, errno))?;
        }
        rustix::thread::set_capabilities(None, rights.capabilities).map_err(of_set)?;
        for number in (0..64).filter(|number| rights.ambient & (1 << number) != 0) {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            rustix::thread::configure_capability_in_ambient_set(capability, true).map_err(of_set)?;
        }
        Ok(())
    }

    /// Executes the first program that can be; gives why none can.
    fn execute(&self) -> Errno {
        let mut reason = Errno::NOENT;
        for program in &self.process.program.places {
            // SAFETY: strings that end with a zero, and lists of such that end with a null.
            unsafe { libc::execve(program.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            match Errno::from_raw_os_error(nix::errno::Errno::last_raw()) {
                Errno::NOENT | Errno::NOTDIR => {}
                // One of the next directories may have another.
                Errno::ACCESS => reason = Errno::ACCESS,
                errno => return errno,
            }
        }
        reason
    }

    fn fail(&self, (stage, errno): Failure) -> ! {
        let [a, b, c, d] = errno.raw_os_error().to_ne_bytes();
        let _ = rustix::io::write(self.tell, &[stage as u8, a, b, c, d]);
        exit(1)
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: it ends this process, without what its maker would do at its end.
    unsafe { libc::_exit(code) }
}

/// As a shell has it: a signal is 128 and its number.
fn code_of(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Waits for the step, whose end is that of all it has started.
fn wait_for(step: Pid) -> i32 {
    loop {
        match rustix::process::waitpid(Some(step), WaitOptions::empty()) {
            Ok(Some((_, status))) => return code_of(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return 255,
        }
    }
}

/// Waits for the step, or for SIGTERM, and ends what it has started. Signals are blocked.
fn wait_for_all(step: Pid) -> i32 {
    // SAFETY: a set of zeroes is one to fill; the calls only read and write it.
    let awaited = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        set
    };
    loop {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == step {
                end_children();
                return code_of(status);
            }
        }
        // SAFETY: the set is filled; nothing is wanted of the signal but its number.
        if unsafe { libc::sigwaitinfo(&raw const awaited, ptr::null_mut()) } == libc::SIGTERM {
            let _ = rustix::process::kill_process(step, Signal::KILL);
            end_children();
            return 128 + libc::SIGTERM;
        }
    }
}

/// Kills the children, and the children that they leave to this process, until there are none.
fn end_children() {
    loop {
        kill_children();
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn kill_children() {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(list) = rustix::fs::open(c"/proc/thread-self/children", flags, Mode::empty()) else { return };
    let mut buffer = [0u8; 4096];
    let mut number = 0i32;
    while let Ok(length @ 1..) = rustix::io::read(&list, &mut buffer) {
        for byte in buffer.iter().take(length) {
            match byte {
                b'0'..=b'9' => number = number.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')),
                _ => {
                    if let Some(pid) = Pid::from_raw(std::mem::take(&mut number)) {
                        let _ = rustix::process::kill_process(pid, Signal::KILL);
                    }
                }
            }
        }
    }
}

/// Opens what is at `path` inside the tree, where nothing on the way is a symlink. `None` if there is
/// nothing.
fn open_inside(root: &OwnedFd, path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..1000 {
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(found) => return Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            // A rename anywhere may make it give up.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::AGAIN)
}

fn attach(mount: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), c"", place.as_fd(), c"", flags)
}

fn mount_late(root: &OwnedFd, late: &LateMount, own_processes: bool) -> Result<(), Errno> {
    let place = open_inside(root, &late.target)?.ok_or(Errno::NOENT)?;
    match &late.source {
        LateSource::Proc { attributes } => match new_mount(c"proc", *attributes) {
            // In a container that hides parts of it. What is there shows the same processes.
            Err(Errno::PERM) if !own_processes => attach(&host_proc(*attributes)?, &place),
            mount => attach(&mount?, &place),
        },
        LateSource::Tree(tree) => attach(tree, &place),
    }
}

fn new_mount(kind: &CStr, attributes: u64) -> Result<OwnedFd, Errno> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), c"source", kind)?;
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The host's `/proc`, with what hides parts of it.
fn host_proc(attributes: u64) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, c"/proc", flags)?;
    set_mount_attributes(tree.as_fd(), true, attributes, 0, Some(MountPropagationFlags::PRIVATE))?;
    Ok(tree)
}

fn make_read_only(root: &OwnedFd, path: &CStr) -> Result<(), Errno> {
    let Some(place) = open_inside(root, path)? else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(place.as_fd(), c"", flags)?;
    set_mount_attributes(tree.as_fd(), true, attributes::RDONLY, 0, None)?;
    attach(&tree, &place)
}

fn mask(root: &OwnedFd, path: &CStr) -> Result<(), Errno> {
    use attributes::{NODEV, NOEXEC, NOSUID, RDONLY};
    let Some(place) = open_inside(root, path)? else { return Ok(()) };
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Directory {
        return attach(&new_mount(c"tmpfs", RDONLY | NOSUID | NODEV | NOEXEC)?, &place);
    }
    // The host's, which is what it is: it is looked at again, since it is what hides.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let null = rustix::mount::open_tree(CWD, c"/dev/null", flags)?;
    let stat = rustix::fs::fstat(&null)?;
    let is_null =
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3);
    if !is_null {
        return Err(Errno::NODEV);
    }
    set_mount_attributes(null.as_fd(), false, RDONLY | NOSUID | NOEXEC, 0, None)?;
    attach(&null, &place)
}

/// Makes the tree `/`, and leaves nothing of what was around it.
fn change_root(root: &OwnedFd, no_pivot: bool) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    match no_pivot {
        false => {
            rustix::process::pivot_root(c".", c".")?;
            // The old root lies upon the new one.
            rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        }
        true => {
            rustix::mount::mount_move(c".", c"/")?;
            rustix::process::chroot(c".")?;
        }
    }
    rustix::process::chdir(c"/")
}

/// Goes to the working directory, which must be inside the root.
fn enter(dir: &CStr) -> Result<(), Errno> {
    rustix::process::chdir(dir)?;
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is as long as is said.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    match buffer.first() {
        // Longer than a path may be: it is a path of the root's.
        _ if length < 0 && nix::errno::Errno::last_raw() == libc::ENAMETOOLONG => Ok(()),
        Some(b'/') if length > 0 => Ok(()),
        _ => Err(Errno::NOENT),
    }
}

/// Leaves the keys of the maker behind. A filter around gabion that refuses the call keeps the step
/// from keys, too.
fn new_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name is a keyring without one.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>()) };
    match done(result) {
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
        other => other,
    }
}

fn set_profile(profile: &[u8]) -> Result<(), Errno> {
    let open = |path: &CStr| rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let file = match open(c"/proc/thread-self/attr/apparmor/exec") {
        Err(Errno::NOENT) => open(c"/proc/thread-self/attr/exec")?,
        other => other?,
    };
    rustix::io::write(&file, profile).map(|_| ())
}

fn install(filter: &Filter) -> Result<(), Errno> {
    /// The kernel's `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const crate::chroot::filter::Instruction,
    }
    const SET_MODE_FILTER: libc::c_uint = 1;
    let program = Program { length: filter.program.len() as u16, instructions: filter.program.as_ptr() };
    // SAFETY: the instructions have the kernel's form, and live until the call is over.
    done(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, filter.flags, &raw const program) })
}

fn done(result: libc::c_long) -> Result<(), Errno> {
    match result {
        0.. => Ok(()),
        _ => Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw())),
    }
}

/// Has every signal do what it does to a new process.
fn default_signals() {
    for number in 1..=64 {
        // SAFETY: it sets no handler; for those that cannot be set, nothing happens.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

fn no_signals() -> libc::sigset_t {
    // SAFETY: it fills the set that it is given.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        set
    }
}

/// Blocks all signals to the thread; gives what was blocked before.
fn block_all_signals() -> libc::sigset_t {
    let mut before = no_signals();
    // SAFETY: both sets live until the calls are over.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    before
}

fn set_signal_mask(mask: &libc::sigset_t) {
    // SAFETY: the set lives until the call is over.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}
