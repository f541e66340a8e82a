//! A step without an OCI runtime: what the runtime specification says is done here.
//!
//! The tree is put together by the thread that owns the run, in the run's mount namespace; then two
//! processes are forked (`sys::step`), of which the second becomes the step. They need no program of
//! their own, nor an entry point in the caller's; but that one has to be protected first.
//!
//! ```text
//! gabion ── thread ─┬─ own mount, host name, IPC namespaces: the tree
//!                   └─ keeper, first of a PID namespace ── step, first of one inside, its own mounts
//! ```
//!
//! What a runtime keeps by control groups is not kept: limits on memory and CPUs are refused, and
//! device nodes mean nothing outside `/dev`.

mod copy_up; // a directory's content in memory
pub(crate) mod filter; // system calls
mod options; // of mounts
mod own_program; // kept from steps
mod tree; // what the step sees as /

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::sched::{CloneFlags, setns, unshare};
use oci_spec::runtime::{LinuxCapabilities, LinuxNamespaceType, LinuxSeccomp, PosixRlimit, Process, Spec};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

pub use filter::FilterError;
pub use own_program::protect_own_program;

use crate::security::{bit_of, resource_named};
use crate::sys::{Keeper, Program, Rights, Stage, StepProcess};
use crate::{BindSource, Mount, MountKind, Namespace, RunOptions, StartError, terminal};
use tree::{Tree, errno, failed};

/// What keeps a step from being run without an OCI runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChrootError {
    /// Only a runtime does it.
    #[error("{what} needs an OCI runtime: {reason} with --isolation chroot")]
    NeedsRuntime {
        /// What was asked for.
        what: String,
        /// Why it cannot be had.
        reason: &'static str,
    },
    /// The step could write to the caller's program.
    #[error("the program that runs steps without an OCI runtime has to protect itself first")]
    Unprotected,
}

/// Refuses what would be left undone.
pub(crate) fn check(options: &RunOptions) -> Result<(), ChrootError> {
    let refuse = |what: String, reason| Err(ChrootError::NeedsRuntime { what, reason });
    if !own_program::is_protected() {
        return Err(ChrootError::Unprotected);
    }
    if let Some(limit) = options.resources.first_named() {
        return refuse(limit.to_owned(), "there is no control group to keep it");
    }
    if let Some(hook) = options.hooks.first() {
        return refuse(format!("OCI hook {}", hook.path.display()), "nothing starts it");
    }
    if let Namespace::Path(path) = &options.namespaces.pid {
        return refuse(format!("PID namespace {}", path.display()), "a step is in one of its own or in the host's");
    }
    for device in &options.devices {
        let what = || format!("device {}", device.path.display());
        if !device.path.starts_with("/dev") {
            return refuse(what(), "there are devices below /dev alone");
        }
        if !device.access.contains('r') || !device.access.contains('w') {
            return refuse(format!("{} with {:?} alone", what(), device.access), "a device is read and written");
        }
    }
    Ok(())
}

/// Lets device nodes work in what of the host the user wants to be seen at `/dev` or below: it is asked
/// for because of them.
pub(crate) fn keep_asked_devices(mounts: &mut [Mount]) {
    for mount in mounts.iter_mut().filter(|mount| mount.target.starts_with("/dev")) {
        if let MountKind::Bind { source: BindSource::Path(_), options, .. } = &mut mount.kind
            && !options.iter().any(|option| option == "nodev")
        {
            options.push("dev".to_owned());
        }
    }
}

/// What is to be run.
pub(crate) struct Launch {
    pub spec: Spec,
    pub bundle: PathBuf,
    /// The home directory, for a step that is not told one.
    pub home: String,
    pub no_pivot: bool,
    /// Standard streams; `None` for a terminal of its own.
    pub streams: Option<[OwnedFd; 3]>,
}

/// A step that has been started.
pub(crate) struct Started {
    keeper: Keeper,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
}

impl Started {
    /// The keeper's process ID: the step is its child.
    pub fn pid(&self) -> Pid {
        self.keeper.pid
    }

    /// Waits for the step.
    pub fn wait(self) -> Option<ExitStatus> {
        self.keeper.wait()
    }
}

impl Launch {
    /// Starts the step. The calling thread has the run's mount namespace, and the network namespace
    /// unless that is to be new; what it unshares here, it keeps.
    pub fn start(self) -> Result<Started, StartError> {
        let Launch { spec, bundle, home, no_pivot, streams } = self;
        let process = spec.process().as_ref().ok_or_else(|| failed("read the specification")(Errno::INVAL))?;
        let own_processes = join_namespaces(&spec)?;
        tree::check_null()?;
        let mut tree = Tree::build(&spec, &bundle)?;
        let (streams, terminal) = match streams {
            Some(streams) => (streams, None),
            None => {
                let (master, slave) = tree.open_terminal(process.user().uid())?;
                terminal::copy_size(&[&std::io::stdin(), &std::io::stdout(), &std::io::stderr()], &master);
                let clone = || slave.try_clone().map_err(|error| failed("make the step's terminal")(errno(&error)));
                ([clone()?, clone()?, clone()?], Some(master))
            }
        };
        let linux = spec.linux().as_ref();
        let paths = |paths: Option<&Vec<String>>| c_strings(paths.map(Vec::as_slice).unwrap_or_default());
        let step = StepProcess {
            tree: c_string(tree.path.as_os_str().as_bytes())?,
            no_pivot,
            own_processes,
            late: std::mem::take(&mut tree.late),
            masked: paths(linux.and_then(|linux| linux.masked_paths().as_ref()))?,
            read_only: paths(linux.and_then(|linux| linux.readonly_paths().as_ref()))?,
            streams,
            is_terminal: terminal.is_some(),
            rights: rights(process, linux.and_then(|linux| linux.seccomp().as_ref()))?,
            program: program(process, &home)?,
        };
        let keeper = Keeper::start(&step).map_err(|failure| told(failure, process))?;
        Ok(Started { keeper, terminal })
    }
}

/// Joins the namespaces that the specification names, and makes the new ones, but for those of mounts
/// and processes. Whether the step has a PID namespace of its own.
fn join_namespaces(spec: &Spec) -> Result<bool, StartError> {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mut own_processes = false;
    for namespace in namespaces.into_iter().flatten() {
        let flag = match namespace.typ() {
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
            LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
            kind => {
                own_processes |= kind == LinuxNamespaceType::Pid;
                continue;
            }
        };
        let what = || format!("enter the step's {} namespace", namespace.typ());
        let joined = match namespace.path() {
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|error| failed(what())(errno(&error)))?;
                setns(file, flag)
            }
            None => unshare(flag),
        };
        joined.map_err(|code| failed(what())(Errno::from_raw_os_error(code as i32)))?;
        if flag == CloneFlags::CLONE_NEWNET {
            crate::sys::start_loopback().map_err(failed("start the loopback device"))?;
        }
    }
    if let Some(name) = spec.hostname() {
        rustix::system::sethostname(name.as_bytes()).map_err(failed("set the step's host name"))?;
    }
    Ok(own_processes)
}

/// What the step may do, in the kernel's terms.
fn rights(process: &Process, seccomp: Option<&LinuxSeccomp>) -> Result<Rights, StartError> {
    let user = process.user();
    // To the kernel, the last number means that nothing changes.
    if [user.uid(), user.gid()]
        .into_iter()
        .chain(user.additional_gids().clone().unwrap_or_default())
        .any(|id| id == u32::MAX)
    {
        return Err(failed("become the step's user: 4294967295 is no ID")(Errno::INVAL));
    }
    let capabilities = process.capabilities().as_ref();
    let set = |of: fn(&LinuxCapabilities) -> &Option<_>| bits(capabilities.and_then(|sets| of(sets).as_ref()));
    let flags = |of: fn(&LinuxCapabilities) -> &Option<_>| CapabilitySet::from_bits_retain(set(of));
    Ok(Rights {
        limits: process.rlimits().iter().flatten().map(limit).collect::<Result<_, _>>()?,
        user: Uid::from_raw(user.uid()),
        group: Gid::from_raw(user.gid()),
        groups: groups(user.gid(), user.additional_gids().as_deref().unwrap_or_default()),
        bounding: set(LinuxCapabilities::bounding),
        capabilities: CapabilitySets {
            effective: flags(LinuxCapabilities::effective),
            permitted: flags(LinuxCapabilities::permitted),
            inheritable: flags(LinuxCapabilities::inheritable),
        },
        ambient: set(LinuxCapabilities::ambient),
        no_new_privileges: process.no_new_privileges().unwrap_or_default(),
        filter: seccomp.map(filter::compile).transpose()?,
        apparmor: process.apparmor_profile().as_ref().map(|profile| format!("exec {profile}").into_bytes()),
    })
}

/// The step's further groups. In a user namespace whose maker had no right to choose them, nobody can change
/// them: a step that is to have none but its own has those of its maker, too.
fn groups(own: u32, more: &[u32]) -> Option<Vec<Gid>> {
    let is_denied = std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    match is_denied && more.iter().all(|gid| *gid == own) {
        true => None,
        false => Some(more.iter().map(|gid| Gid::from_raw(*gid)).collect()),
    }
}

/// What the step executes. Without a home directory, it has `home`, as with an OCI runtime.
fn program(process: &Process, home: &str) -> Result<Program, StartError> {
    let arguments = process.args().clone().unwrap_or_default();
    let mut environment = process.env().clone().unwrap_or_default();
    if !environment.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
        environment.retain(|entry| !entry.starts_with("HOME="));
        environment.push(format!("HOME={}", if home.is_empty() { "/" } else { home }));
    }
    Ok(Program {
        working_dir: c_string(process.cwd().as_os_str().as_bytes())?,
        places: c_strings(&places(&arguments, &environment))?,
        arguments: c_strings(&arguments)?,
        environment: c_strings(&environment)?,
    })
}

/// Where the command may be: at its path, or in the directories of the step's own `PATH`.
fn places(arguments: &[String], environment: &[String]) -> Vec<String> {
    let Some(command) = arguments.first() else { return Vec::new() };
    if command.contains('/') {
        return vec![command.clone()];
    }
    let path = environment.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let at = |dir: &str| Path::new(dir).join(command).to_string_lossy().into_owned();
    path.split(':').map(at).collect()
}

fn bits(names: Option<&std::collections::HashSet<oci_spec::runtime::Capability>>) -> u64 {
    let bit = |name| serde_json::to_value(name).ok().and_then(|name| bit_of(name.as_str()?));
    names.into_iter().flatten().filter_map(bit).fold(0, |all, bit| all | bit)
}

fn limit(limit: &PosixRlimit) -> Result<(rustix::process::Resource, Rlimit), StartError> {
    let name = limit.typ().to_string();
    let resource = resource_named(&name).ok_or_else(|| failed(format!("set limit {name}"))(Errno::INVAL))?;
    let value = |value: u64| Some(value).filter(|value| *value != u64::MAX);
    Ok((resource, Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) }))
}

fn c_string(bytes: &[u8]) -> Result<CString, StartError> {
    CString::new(bytes).map_err(|_| failed("describe the step: a text has a zero byte")(Errno::INVAL))
}

fn c_strings(words: &[String]) -> Result<Vec<CString>, StartError> {
    words.iter().map(|word| c_string(word.as_bytes())).collect()
}

/// What a failure of the step's process means.
fn told((stage, errno): (Stage, Errno), process: &Process) -> StartError {
    match stage {
        Stage::Program => StartError::Program(errno),
        Stage::WorkingDir => StartError::Step(format!("enter working directory {}", process.cwd().display()), errno),
        Stage::Mounts if errno == Errno::PERM => {
            StartError::Step("mount /proc of a PID namespace (--pid=host shows the host's)".to_owned(), errno)
        }
        stage => StartError::Step(stage.to_string(), errno),
    }
}
