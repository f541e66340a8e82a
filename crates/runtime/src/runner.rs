//! The thread that owns the runtime process, or the step's keeper, and the namespaces around it.
//!
//! Either is the first process of a PID namespace of its own: when it dies, however that
//! comes, the kernel kills everything that it started. It dies with this thread, and this thread
//! with gabion. Its mount namespace holds what the step's mounts are made from.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::MountPropagationFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::chroot;
use crate::memory::Memory;
use crate::mounts::{Attachment, MountError};

/// The runtime that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel refuses a namespace.
    #[error("unable to make namespaces for the step: {0}")]
    Namespaces(std::io::Error),
    /// A mount source cannot be attached.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The program cannot be started.
    #[error("unable to start the OCI runtime: {0}")]
    Spawn(std::io::Error),
    /// Something that is done for a step without an OCI runtime.
    #[error("unable to {0}: {1}")]
    Step(String, rustix::io::Errno),
    /// The system call filter cannot be made.
    #[error(transparent)]
    Filter(#[from] chroot::FilterError),
    /// The step's program cannot be executed.
    #[error("unable to execute the step's program: {0}")]
    Program(rustix::io::Errno),
}

/// What the thread is to start.
struct Launch {
    what: Startable,
    memory: Memory,
    attachments: Vec<Attachment>,
}

/// What starts the step.
pub(crate) enum Startable {
    /// An OCI runtime.
    Runtime(Command),
    /// Nobody else.
    Step(Box<chroot::Launch>),
}

/// What has been started.
enum Process {
    /// The runtime, which dies when the descriptor has no holder.
    Runtime(std::process::Child, OwnedFd),
    /// The step's keeper.
    Step(chroot::Started),
}

impl Process {
    fn wait(self) -> Option<ExitStatus> {
        match self {
            Process::Runtime(mut child, _lifeline) => child.wait().ok(),
            Process::Step(started) => started.wait(),
        }
    }
}

/// A process that this thread has started, and that keeps its ID until the thread waits for it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub pid: Pid,
    pub fd: OwnedFd,
}

impl Handle {
    fn open(pid: Pid) -> Result<Handle, StartError> {
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| StartError::Spawn(errno.into()))?;
        Ok(Handle { pid, fd })
    }
}

/// What is known of it outside the thread.
#[derive(Debug)]
pub(crate) struct Running {
    /// The runtime, or the step's keeper: the step is its child.
    pub process: Handle,
    /// The master side of the step's terminal, if no runtime has made one.
    pub terminal: Option<OwnedFd>,
}

/// The thread. Dropped before a launch, it ends without one.
#[derive(Debug)]
pub(crate) struct Runner {
    launches: SyncSender<Launch>,
    started: Receiver<Result<Running, StartError>>,
    thread: JoinHandle<Option<ExitStatus>>,
}

impl Runner {
    /// Starts the thread and makes its namespaces; it joins `network_namespace`, or stays in the
    /// host's. Without `own_processes`, there is no PID namespace around the runtime.
    pub fn start(network_namespace: Option<OwnedFd>, own_processes: bool) -> Result<Runner, StartError> {
        let (launches, to_launch) = sync_channel::<Launch>(1);
        let (report_ready, ready) = sync_channel(1);
        let (report_start, started) = sync_channel(1);
        let body = move || {
            let namespaces = make_namespaces(network_namespace, own_processes);
            let made = namespaces.is_ok();
            if report_ready.send(namespaces).is_err() || !made {
                return None;
            }
            let launch = to_launch.recv().ok()?;
            match spawn(launch, own_processes) {
                Ok((process, running)) => {
                    let _ = report_start.send(Ok(running));
                    process.wait()
                }
                Err(error) => {
                    let _ = report_start.send(Err(error));
                    None
                }
            }
        };
        let thread = std::thread::Builder::new().name("step".into()).spawn(body).map_err(StartError::Namespaces)?;
        let gone = || StartError::Namespaces(std::io::Error::other("the thread ended"));
        ready.recv().map_err(|_| gone())?.map_err(StartError::Namespaces)?;
        Ok(Runner { launches, started, thread })
    }

    /// Attaches mounts and starts the runtime, or the step itself.
    pub fn launch(&self, what: Startable, memory: Memory, attachments: Vec<Attachment>) -> Result<Running, StartError> {
        let gone = || StartError::Spawn(std::io::Error::other("the thread ended"));
        self.launches.send(Launch { what, memory, attachments }).map_err(|_| gone())?;
        self.started.recv().map_err(|_| gone())?
    }

    /// How the runtime ended.
    pub fn wait(self) -> Option<ExitStatus> {
        drop(self.launches);
        self.thread.join().ok().flatten()
    }
}

fn make_namespaces(network: Option<OwnedFd>, own_processes: bool) -> std::io::Result<()> {
    if let Some(network) = network {
        setns(network, CloneFlags::CLONE_NEWNET)?;
    }
    let processes = if own_processes { CloneFlags::CLONE_NEWPID } else { CloneFlags::empty() };
    unshare(CloneFlags::CLONE_NEWNS | processes)?;
    // What the host mounts and unmounts is seen here; what is mounted here stays here.
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
    Ok(())
}

/// On a host with control groups of both versions, the second may have controllers that the first
/// does not use. crun gives up on seeing that, though nothing asks for them: so it does not see it.
fn hide_second_hierarchy(runtime: &OsStr) {
    const UNIFIED: &str = "/sys/fs/cgroup/unified";
    if Path::new(runtime).file_name() != Some(OsStr::new("crun")) {
        return;
    }
    let controllers = std::fs::read_to_string(format!("{UNIFIED}/cgroup.controllers")).unwrap_or_default();
    if !controllers.trim().is_empty() && !crate::control_group::host_has_v2() {
        // If it stays, the runtime says what it thinks of it.
        let _ = rustix::mount::unmount(UNIFIED, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Starts the runtime, or the step itself.
fn spawn(launch: Launch, own_processes: bool) -> Result<(Process, Running), StartError> {
    let Launch { what, memory, attachments } = launch;
    if let Startable::Runtime(command) = &what {
        hide_second_hierarchy(command.get_program());
    }
    memory.attach().map_err(StartError::Namespaces)?;
    drop(memory);
    for attachment in &attachments {
        attachment.attach()?;
    }
    drop(attachments);
    match what {
        Startable::Runtime(command) => spawn_runtime(command, own_processes),
        Startable::Step(launch) => {
            let mut started = launch.start()?;
            let running = Running { process: Handle::open(started.pid())?, terminal: started.terminal.take() };
            Ok((Process::Step(started), running))
        }
    }
}

fn spawn_runtime(mut command: Command, own_processes: bool) -> Result<(Process, Running), StartError> {
    let (alive, lifeline) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| StartError::Spawn(errno.into()))?;
    // A process group of its own: what a terminal sends on Ctrl-C is for gabion to pass on.
    command.process_group(0);
    // The death of the first process of a namespace ends the others; any other runtime has to be
    // asked to end what it runs.
    let death = if own_processes { Signal::KILL } else { Signal::TERM };
    crate::sys::prepare_child(&mut command, alive, lifeline.as_fd(), death);
    let mut child = command.spawn().map_err(StartError::Spawn)?;
    match Pid::from_raw(child.id() as i32) {
        Some(pid) => {
            let running = Running { process: Handle::open(pid)?, terminal: None };
            Ok((Process::Runtime(child, lifeline), running))
        }
        None => {
            let _ = child.kill();
            Err(StartError::Spawn(std::io::Error::other("it has no process ID")))
        }
    }
}
